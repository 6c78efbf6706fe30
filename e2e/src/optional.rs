//! Tests that need what not every machine has.

/// Whether nothing may be left out: `DUNLIN_TEST_REQUIRE` is `all`.
#[must_use]
pub fn is_all_required() -> bool {
    std::env::var_os("DUNLIN_TEST_REQUIRE").is_some_and(|what| what == "all")
}

/// Says on standard error that a test is left out, and why.
///
/// # Panics
/// `DUNLIN_TEST_REQUIRE` is `all`: where everything is installed, nothing may be left out.
pub fn left_out(why: &str) {
    assert!(!is_all_required(), "DUNLIN_TEST_REQUIRE=all, but this test would be left out: {why}");
    eprintln!("left out: {why}");
}
