//! Topic Names. Pure.

use super::TopicError;

/// A valid Topic Name: 1 to 65,535 bytes, no wildcard, no U+0000, a bounded number of levels.
///
/// Spec: MQTT 5.0 section 4.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks the text.
    ///
    /// # Errors
    /// [`TopicError`] that says what is wrong first.
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(TopicError::TooLong);
        }
        let mut levels = 1;
        for byte in text.bytes() {
            match byte {
                b'/' => levels += 1,
                b'+' | b'#' => return Err(TopicError::WildcardInName),
                0 => return Err(TopicError::NullCharacter),
                _ => {}
            }
        }
        if levels > levels_max {
            return Err(TopicError::TooManyLevels { levels_max });
        }
        Ok(Self(text))
    }

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}
