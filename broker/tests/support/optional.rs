//! Tests that need what not every machine has.

/// Says on standard error that a test is left out, and why.
///
/// # Panics
/// `DUNLIN_TEST_REQUIRE` is `all`: where everything is installed, nothing may be left out.
pub(crate) fn left_out(why: &str) {
    let all = std::env::var_os("DUNLIN_TEST_REQUIRE").is_some_and(|what| what == "all");
    assert!(!all, "DUNLIN_TEST_REQUIRE=all, but this test would be left out: {why}");
    eprintln!("left out: {why}");
}
