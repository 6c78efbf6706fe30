//! Topic names and topic filters as far as rights need them: validity, matching, covering. Pure.
//!
//! This is the plain reading of the specification, one filter against one topic; the
//! [authorizer](crate::authorizer) compiles many filters into one search.

/// Longest topic name or topic filter, in bytes. Spec: MQTT 5.0 section 1.5.4.
pub const TOPIC_BYTES_MAX: usize = 65_535;
/// Most levels that a Topic Name or Topic Filter may have (`a/b` has two), in a packet as in an ACL.
///
/// Bounds the work and the stack of a match; the specification allows 32,768.
pub const LEVELS_MAX: usize = 128;

/// What is wrong with a topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// It has no character.
    #[error("the topic filter is empty; write at least one character")]
    Empty,
    /// It is longer than MQTT can carry.
    #[error("the topic filter is longer than {TOPIC_BYTES_MAX} bytes; shorten it")]
    TooLong,
    /// It has more levels than any topic may have.
    #[error("the topic filter has more than {LEVELS_MAX} levels; shorten it")]
    TooDeep,
    /// A control character, which no topic may hold.
    #[error("the topic filter holds a control character; remove it")]
    ControlCharacter,
    /// `+` beside other characters in a level.
    #[error("`+` must stand alone in its level, as in `a/+/b`")]
    MisplacedSingleLevel,
    /// `#` not alone in the last level.
    #[error("`#` must stand alone in the last level, as in `a/b/#`")]
    MisplacedMultiLevel,
}

/// Checks a topic filter.
///
/// # Errors
/// The first rule it breaks.
///
/// Spec: MQTT 5.0 section 4.7.1 [MQTT-4.7.1-1], [MQTT-4.7.1-2], section 4.7.3 [MQTT-4.7.3-1].
pub fn validate_filter(filter: &str) -> Result<(), InvalidFilter> {
    if filter.is_empty() {
        return Err(InvalidFilter::Empty);
    }
    if filter.len() > TOPIC_BYTES_MAX {
        return Err(InvalidFilter::TooLong);
    }
    if filter.chars().any(char::is_control) {
        return Err(InvalidFilter::ControlCharacter);
    }
    if filter.split('/').count() > LEVELS_MAX {
        return Err(InvalidFilter::TooDeep);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('+') && level != "+" {
            return Err(InvalidFilter::MisplacedSingleLevel);
        }
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(InvalidFilter::MisplacedMultiLevel);
        }
    }
    Ok(())
}

/// Whether a text holds `+` or `#`.
pub fn has_wildcard(text: &str) -> bool {
    text.bytes().any(|byte| byte == b'+' || byte == b'#')
}

/// Whether the topic filter (without `$share/`) matches the topic name; both must be valid.
///
/// A leading wildcard does not match a topic that starts with `$`, and `a/#` matches `a`.
/// Spec: MQTT 5.0 section 4.7.1 and section 4.7.2 [MQTT-4.7.2-1].
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    agree_on_dollar(filter, topic) && levels_match(filter, topic, |_| true)
}

/// Whether every topic that `requested` can match is matched by `filter`. A level `+` does not
/// cover `#`, also where it would follow from the rest of the filter.
pub fn covers(filter: &str, requested: &str) -> bool {
    agree_on_dollar(filter, requested) && levels_match(filter, requested, |level| level != "#")
}

/// A filter that does not begin with `$` says nothing about topics that do, and the reverse.
pub(crate) fn agree_on_dollar(filter: &str, topic: &str) -> bool {
    filter.starts_with('$') == topic.starts_with('$')
}

fn levels_match(filter: &str, topic: &str, plus_takes: impl Fn(&str) -> bool) -> bool {
    let mut filter_levels = filter.split('/');
    let mut topic_levels = topic.split('/');
    loop {
        match (filter_levels.next(), topic_levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if plus_takes(level) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_level_wildcard_covers_no_multi_level_one() {
        for (filter, requested, expected) in [
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("+/#", "#", false),
            ("a/#", "a/#", true),
            ("a/#", "a/+/c", true),
            ("a/#", "a", true),
            ("a/b", "a/+", false),
            ("#", "$share/g/x", false),
            ("$share/+/x", "$share/g/x", true),
        ] {
            assert_eq!(covers(filter, requested), expected, "{filter} {requested}");
        }
    }

    #[test]
    fn misplaced_wildcards_and_control_characters_are_refused() {
        use InvalidFilter::*;
        for (filter, expected) in [
            ("", Err(Empty)),
            ("a+/b", Err(MisplacedSingleLevel)),
            ("a/b#", Err(MisplacedMultiLevel)),
            ("a/#/b", Err(MisplacedMultiLevel)),
            ("a/\u{7}", Err(ControlCharacter)),
            ("a/\0", Err(ControlCharacter)),
            ("+/a/#", Ok(())),
            ("#", Ok(())),
        ] {
            assert_eq!(validate_filter(filter), expected, "{filter}");
        }
        assert_eq!(validate_filter(&"/".repeat(LEVELS_MAX)), Err(TooDeep));
        assert_eq!(validate_filter(&"/".repeat(LEVELS_MAX - 1)), Ok(()));
    }
}
