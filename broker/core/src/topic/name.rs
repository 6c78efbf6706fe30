//! Topic Names. Pure.

use super::TopicError;

const SEPARATOR: u8 = 1;
const INVALID: u8 = 2;

/// What each byte means in a Topic Name.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    classes[b'/' as usize] = SEPARATOR;
    classes[b'+' as usize] = INVALID;
    classes[b'#' as usize] = INVALID;
    classes[0] = INVALID;
    classes
};

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
        // No early exit and no branches: nearly all names are valid.
        let (mut levels, mut classes) = (1, 0);
        for byte in text.bytes() {
            let class = CLASSES[usize::from(byte)];
            levels += usize::from(class & SEPARATOR);
            classes |= class;
        }
        if classes & INVALID != 0 {
            let is_null = text.contains('\0') && !text.contains(['+', '#']);
            return Err(if is_null {
                TopicError::NullCharacter
            } else {
                TopicError::WildcardInName
            });
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
