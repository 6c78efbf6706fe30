use super::*;

const GOOD: &str = "\
# Conformance

## MQTT 5.0

Client only: MQTT-3.1.0-5, MQTT-3.1.0-4.
Without object: MQTT-3.1.0-3 (as nothing needs it).

| id | statement | module | test |
|---|---|---|---|
| MQTT-3.1.0-1 | one | `x/src/lib.rs` | `x/src/lib.rs::one`, `x/src/b.rs::two` |
| MQTT-3.1.0-2 | two | `x/src/lib.rs`, `x/src/b.rs` | - missing |

## MQTT 3.1.1

| id | 5.0 |
|---|---|
| MQTT-3.1.0-1 | MQTT-3.1.0-1 |
| MQTT-3.1.0-2 | MQTT-3.1.0-2 |

## Not shown yet

| id | version | state | why |
|---|---|---|---|
| MQTT-3.1.0-2 | 5.0 | missing | nobody did it |
";

fn file(path: &str) -> Option<String> {
    match path {
        "x/src/lib.rs" => Some("#[test]\nfn one() {}\n\nfn helper() {}\nmod b;\n".to_owned()),
        "x/src/b.rs" => Some("#[tokio::test]\n#[expect(x)]\nasync fn two() {\n}\n".to_owned()),
        "x/Cargo.toml" => Some(String::new()),
        _ => None,
    }
}

/// What is wrong with the good document after an edit.
fn breaches(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let (document, mut breaches) = document::parse(&GOOD.replace(from, to));
    breaches.extend(check(&document, &file));
    breaches
}

#[test]
fn a_good_document_is_counted() {
    let (document, breaches) = document::parse(GOOD);
    assert_eq!(breaches, [""; 0]);
    assert_eq!(check(&document, &file), [""; 0]);
    let expected = ["MQTT 5.0: 1 of 2 statements shown", "MQTT 3.1.1: 1 of 2 statements shown"];
    assert_eq!(counts(&document), expected);
}

#[test]
fn statements_that_do_not_bind_this_server_count_as_named() {
    let (document, _) = document::parse(GOOD);
    assert_eq!(check_totals(&document, &[("5.0", 5), ("3.1.1", 2)]), [""; 0]);
    let expected = ["2 statements of MQTT 3.1.1 are named, and it has 3"];
    assert_eq!(check_totals(&document, &[("5.0", 5), ("3.1.1", 3)]), expected);
}

#[test]
fn what_is_not_so_is_named() {
    let rows = [
        ("x/src/b.rs::two", "x/src/b.rs::three", "x/src/b.rs has no test three"),
        ("x/src/lib.rs::one", "x/src/lib.rs::helper", "x/src/lib.rs has no test helper"),
        ("x/src/lib.rs::one", "x/src/c.rs::one", "there is no file x/src/c.rs"),
        ("`x/src/lib.rs`, `x/src/b.rs`", "`x/src/c.rs`", "there is no file x/src/c.rs"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1.0-1 | two", "a second time"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1.0-5 | two", "a second time"),
        ("MQTT-3.1.0-4", "MQTT-3.1.0-5", "a second time"),
        ("MQTT-3.1.0-5, MQTT-3.1.0-4.", "MQTT-3.1.0-5.", "MQTT-3.1.0-4 of MQTT 5.0 stands nowhere"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1-2 | two", "no id of a statement"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1.0-x | two", "no id of a statement"),
        ("| MQTT-3.1.0-2 | MQTT-3.1.0-2 |", "| MQTT-3.1.0-2 | MQTT-3.1.0-3 |", "not in a table"),
        ("- missing", "- later", "neither untested nor missing"),
        ("- missing", "`x/src/b.rs::two`", "take it from the list"),
        ("- missing", "- untested", "say the same"),
        ("| MQTT-3.1.0-2 | 5.0 | missing | nobody did it |\n", "", "has no test"),
        ("| nobody did it", "| ", "needs a reason"),
        ("| 5.0 | missing", "| 3.1 | missing", "correct the id"),
        ("`x/src/lib.rs`, `x/src/b.rs`", "x/src/lib.rs", "between backticks"),
        ("| two |", "|", "a row has an id"),
        ("`x/src/lib.rs::one`", "`one`", "write `path::name`"),
    ];
    for (from, to, words) in rows {
        let breaches = breaches(from, to);
        assert!(breaches.iter().any(|breach| breach.contains(words)), "{to}: {breaches:?}");
    }
}

#[test]
fn a_function_is_a_test_by_the_attribute_above_it() {
    assert!(has_test("#[test]\n#[cfg(unix)]\nfn one() {}", "one"));
    assert!(has_test("    #[tokio::test(flavor = \"x\")]\n    async fn one() {}", "one"));
    assert!(!has_test("#[test]\nfn one() {}\n\nfn two() {}", "two"));
    assert!(!has_test("#[test]\nfn one_more() {}", "one"));
}

#[test]
fn a_test_that_is_left_out_shows_nothing() {
    assert!(!has_test("#[test]\n#[ignore]\nfn one() {}", "one"));
    assert!(!has_test("#[ignore = \"slow\"]\n#[tokio::test]\nasync fn one() {}", "one"));
    assert!(has_test("#[ignore]\n#[test]\nfn two() {}\n\n#[test]\nfn one() {}", "one"));
}

#[test]
fn a_file_counts_that_a_crate_says_is_its_own() {
    let files = [
        ("x/Cargo.toml", ""),
        ("x/src/lib.rs", "pub mod a;\nmod d;\n"),
        ("x/src/a/mod.rs", "    #[path = \"b_test.rs\"]\n    mod tests;\npub(crate) mod c;\n"),
        ("x/src/a/b_test.rs", ""),
        ("x/src/a/c.rs", "mod e;\n#[path = \"c_test.rs\"]\nmod tests;"),
        ("x/src/a/c_test.rs", ""),
        ("x/src/a/c/e.rs", ""),
        ("x/src/a/lost.rs", "mod found;"),
        ("x/src/a/lost/found.rs", ""),
        ("x/tests/t.rs", ""),
        ("x/tests/u/main.rs", "mod v;"),
        ("x/tests/u/v.rs", ""),
        ("y/tests/t.rs", ""),
    ];
    let read = |path: &str| {
        files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
    };
    let compiled = files.iter().map(|(path, _)| *path).filter(|path| path.ends_with(".rs"));
    let left: Vec<&str> = compiled.filter(|path| !is_compiled(path, &read)).collect();
    assert_eq!(left, ["x/src/a/lost.rs", "x/src/a/lost/found.rs", "y/tests/t.rs"]);
}
