use super::*;

const GOOD: &str = "\
# Conformance

## MQTT 5.0

Client only: MQTT-3.1.0-5, MQTT-3.1.0-4.
Without object: MQTT-3.1.0-3 (as nothing needs it).

| id | statement | module | test |
|---|---|---|---|
| MQTT-3.1.0-1 | one | `a.rs` | `a.rs::one`, `b.rs::two` |
| MQTT-3.1.0-2 | two | `a.rs`, `b.rs` | - missing |

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
        "a.rs" => Some("#[test]\nfn one() {}\n\nfn helper() {}\n".to_owned()),
        "b.rs" => Some("#[tokio::test]\n#[expect(x)]\nasync fn two() {\n}\n".to_owned()),
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
        ("b.rs::two", "b.rs::three", "b.rs has no test three"),
        ("a.rs::one", "a.rs::helper", "a.rs has no test helper"),
        ("a.rs::one", "c.rs::one", "there is no file c.rs"),
        ("`a.rs`, `b.rs`", "`c.rs`", "there is no file c.rs"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1.0-1 | two", "a second time"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1.0-5 | two", "a second time"),
        ("MQTT-3.1.0-4", "MQTT-3.1.0-5", "a second time"),
        ("MQTT-3.1.0-5, MQTT-3.1.0-4.", "MQTT-3.1.0-5.", "MQTT-3.1.0-4 of MQTT 5.0 stands nowhere"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1-2 | two", "no id of a statement"),
        ("| MQTT-3.1.0-2 | two", "| MQTT-3.1.0-x | two", "no id of a statement"),
        ("| MQTT-3.1.0-2 | MQTT-3.1.0-2 |", "| MQTT-3.1.0-2 | MQTT-3.1.0-3 |", "not in a table"),
        ("- missing", "- later", "neither untested nor missing"),
        ("- missing", "`b.rs::two`", "take it from the list"),
        ("- missing", "- untested", "say the same"),
        ("| MQTT-3.1.0-2 | 5.0 | missing | nobody did it |\n", "", "has no test"),
        ("| nobody did it", "| ", "needs a reason"),
        ("| 5.0 | missing", "| 3.1 | missing", "correct the id"),
        ("`a.rs`, `b.rs`", "a.rs", "between backticks"),
        ("| two |", "|", "a row has an id"),
        ("`a.rs::one`", "`one`", "write `path::name`"),
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
