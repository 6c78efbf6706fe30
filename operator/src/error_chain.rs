//! An error with its causes in one line, for conditions, Events and the console.

use std::error::Error;

/// The error and what caused it, divided by colons; a cause that an error already quotes is not said twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    fn told(text: &'static str, source: Option<Told>) -> Told {
        Told { text, source: source.map(Box::new) }
    }

    #[test]
    fn causes_follow_and_what_was_quoted_is_not_said_again() {
        let cause = told("refused", Some(told("no route", None)));
        assert_eq!(chain(&told("connect", Some(cause))), "connect: refused: no route");
        assert_eq!(
            chain(&told("connect: refused", Some(told("refused", None)))),
            "connect: refused"
        );
    }
}
