//! Whether a value is what its directive takes. Pure.

use crate::conf::Line;
use crate::directive::{Directive, Shape};
use crate::fault::Fault;

/// The value in its one form: `true` for `1`, the first word where only that counts.
pub(super) fn check(line: &Line, directive: &Directive) -> Result<String, Fault> {
    let wrong = |expected: &str| Fault::Value {
        at: line.at.clone(),
        name: directive.name,
        value: if is_secret(directive) { "***".to_owned() } else { line.value.clone() },
        expected: expected.to_owned(),
    };
    let word = line.value.split(' ').next().unwrap_or_default();
    if word.is_empty() && directive.shape != Shape::Any {
        return Err(Fault::NoValue { at: line.at.clone(), name: line.name.clone() });
    }
    match directive.shape {
        Shape::Bool => match word {
            "true" | "1" => Ok("true".to_owned()),
            "false" | "0" => Ok("false".to_owned()),
            _ => Err(wrong("true or false")),
        },
        Shape::Integer(min, max) => match word.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
            Ok(_) => Err(wrong(&format!("a number from {min} to {max}"))),
            Err(_) => Err(wrong("a whole number")),
        },
        Shape::Word(words) if words.contains(&word) => Ok(word.to_owned()),
        Shape::Word([first @ .., last]) => {
            Err(wrong(&format!("one of {} and {last}", first.join(", "))))
        }
        Shape::Word([]) => Err(wrong("nothing")),
        Shape::Text | Shape::Repeated | Shape::Any => {
            match line.value.chars().any(|c| c.is_control() && c != '\t') {
                true => Err(wrong("a text without control characters")),
                false => Ok(line.value.clone()),
            }
        }
    }
}

/// Whether the value is one that no message may show.
fn is_secret(directive: &Directive) -> bool {
    let secrets =
        ["bridge_psk", "local_password", "password", "remote_password", "tls_engine_kpass_sha1"];
    secrets.contains(&directive.name)
}
