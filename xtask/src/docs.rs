//! Checks that `docs/` explains what the code shows to people: reasons of conditions, and metrics. IO: reads files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tidy::{code_of, is_test};

/// Words that `as_str` gives and that never are a reason.
const NO_REASONS: [&str; 7] = ["True", "False", "Unknown", "Wait", "Refuse", "Done", "Halt"];

/// Where reasons stand beside the operator's decisions.
const REASON_FILES: [&str; 2] =
    ["operator/src/kubernetes/error.rs", "operator/src/policy_sync/push.rs"];

/// The calls in the broker's metrics that name one.
const BROKER_METRIC_CALLS: [&str; 3] = ["page.family(", "page.single(", "page.seconds("];

/// What is not explained, each with where to write it.
///
/// # Errors
/// A file can't be read.
pub(crate) fn breaches(root: &Path, sources: &[(String, String)]) -> Result<Vec<String>> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let (runbook, metrics) = (read("docs/runbook.md")?, read("docs/metrics.md")?);
    let mut breaches = Vec::new();
    for (name, text) in sources {
        if is_test(name) {
            continue;
        }
        let code = code_of(text);
        if name.starts_with("operator/core/src/") || REASON_FILES.contains(&name.as_str()) {
            let reasons = reasons(code);
            breaches.extend(unexplained(&reasons, &runbook).map(|reason| {
                format!("docs/runbook.md: the reason {reason} of {name} is not explained")
            }));
        }
        let named = match name.as_str() {
            name if name.starts_with("broker/src/metrics/") => {
                after(code, &BROKER_METRIC_CALLS, "")
            }
            "operator/src/metrics.rs" => after(code, &[""], "mqtt_operator_"),
            _ => continue,
        };
        breaches.extend(
            unexplained(&named, &metrics)
                .map(|metric| format!("docs/metrics.md: {metric} of {name} is not explained")),
        );
    }
    Ok(breaches)
}

fn unexplained<'a>(
    words: &'a BTreeSet<String>,
    document: &'a str,
) -> impl Iterator<Item = &'a String> {
    words.iter().filter(|word| !document.contains(&format!("`{word}`")))
}

/// The reasons in code: what an `as_str` gives, and what a finding names.
fn reasons(code: &str) -> BTreeSet<String> {
    let given = code.lines().filter_map(|line| {
        let (_, word) = line.trim().strip_prefix("Self::")?.split_once("=> \"")?;
        word.split('"').next()
    });
    let found = code.split("Finding::new(").skip(1).flat_map(|call| {
        let arguments = call.split(';').next().unwrap_or(call);
        // The condition's own type comes first where it is a literal.
        arguments.split('"').skip(1).step_by(2).take(2)
    });
    given
        .chain(found)
        .filter(|word| !NO_REASONS.contains(word) && is_reason(word))
        .map(str::to_owned)
        .collect()
}

/// One word in CamelCase.
fn is_reason(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.chars().all(|letter| letter.is_ascii_alphanumeric())
}

/// The first literal after each of `calls`, where it begins with `prefix`, without it.
fn after(code: &str, calls: &[&str], prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for call in calls {
        let literal = format!("\"{prefix}");
        if call.is_empty() {
            found.extend(code.split(&literal).skip(1).filter_map(first_word));
        } else {
            let calls = code.split(call).skip(1);
            found.extend(calls.filter_map(|call| first_word(call.split_once(&literal)?.1)));
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    text.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_in_as_str_and_in_findings() {
        let code = r#"
            Self::Paused => "Paused",
            Self::Add { .. } => "AddLearner",
            Self::True => "True",
            Finding::new("Ready", false, "NoLeader", "no broker leads");
            let message = format!("a {x}");
            Finding::new(
                type_,
                false,
                "Expired",
                message,
            );
        "#;
        let expected = ["AddLearner", "Expired", "NoLeader", "Paused", "Ready"];
        assert_eq!(reasons(code), expected.map(str::to_owned).into());
    }

    #[test]
    fn metrics_are_found_by_the_call_or_by_their_prefix() {
        let broker = "page.family(\n Kind::Gauge,\n \"queued\", help)?; page.single(kind, \"log_total\", \"x\")?; page.seconds(\n\"sync_seconds\", &read)";
        let found = after(broker, &BROKER_METRIC_CALLS, "");
        assert_eq!(found, ["log_total", "queued", "sync_seconds"].map(str::to_owned).into());
        let operator = r#"Opts::new("mqtt_operator_leader", "1 while")"#;
        assert_eq!(after(operator, &[""], "mqtt_operator_"), ["leader".to_owned()].into());
    }

    #[test]
    fn a_word_is_explained_where_it_stands_as_code() {
        let words = ["Expired", "NoLeader"].map(str::to_owned).into();
        let missing: Vec<_> = unexplained(&words, "| `NoLeader` | Expired |").collect();
        assert_eq!(missing, ["Expired"]);
    }
}
