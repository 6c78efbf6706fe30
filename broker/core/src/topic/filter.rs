//! Topic Filters and Shared Subscriptions. Pure.

use super::TopicError;

/// The name of a group of clients that share a Subscription. Spec: MQTT 5.0 section 4.8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName<'a>(&'a str);

impl<'a> ShareName<'a> {
    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A valid Topic Filter, shared (`$share/group/filter`) or not.
///
/// Spec: MQTT 5.0 sections 4.7 and 4.8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a> {
    text: &'a str,
    share_name: Option<ShareName<'a>>,
    filter: &'a str,
}

const SHARE_PREFIX: &str = "$share/";

impl<'a> TopicFilter<'a> {
    /// Checks the text, and that the filter behind a share name has at most `levels_max` levels.
    ///
    /// # Errors
    /// [`TopicError`]; only [`TopicError::TooManyLevels`] can come from a filter in a decoded
    /// SUBSCRIBE.
    pub fn parse(text: &'a str, levels_max: usize) -> Result<Self, TopicError> {
        let filter = Self::parse_unbounded(text)?;
        let levels = filter.filter.bytes().filter(|&byte| byte == b'/').count() + 1;
        if levels > levels_max {
            return Err(TopicError::TooManyLevels { levels_max });
        }
        Ok(filter)
    }

    /// Checks the text without a limit on levels.
    pub(crate) fn parse_unbounded(text: &'a str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(TopicError::TooLong);
        }
        let Some(shared) = text.strip_prefix(SHARE_PREFIX) else {
            check_filter(text)?;
            return Ok(Self { text, share_name: None, filter: text });
        };
        let (name, filter) = shared.split_once('/').ok_or(match shared {
            "" => TopicError::ShareName,
            _ => TopicError::ShareWithoutFilter,
        })?;
        if name.is_empty() || name.contains(['+', '#']) {
            return Err(TopicError::ShareName);
        }
        if name.contains('\0') {
            return Err(TopicError::NullCharacter);
        }
        if filter.is_empty() {
            return Err(TopicError::ShareWithoutFilter);
        }
        check_filter(filter)?;
        Ok(Self { text, share_name: Some(ShareName(name)), filter })
    }

    /// The whole text, `$share/` prefix included: the identity of the Subscription in its Session.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The share name of a Shared Subscription.
    #[must_use]
    pub const fn share_name(&self) -> Option<ShareName<'a>> {
        self.share_name
    }

    /// What topics are matched against: the text without `$share/name/`.
    #[must_use]
    pub const fn filter(&self) -> &'a str {
        self.filter
    }

    /// Whether it holds `+` or `#`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }
}

/// Whether the text is the Topic Filter of a Shared Subscription, if it is one at all.
pub(crate) fn is_shared(text: &str) -> bool {
    text.starts_with(SHARE_PREFIX)
}

fn check_filter(filter: &str) -> Result<(), TopicError> {
    let bytes = filter.as_bytes();
    let fills_level = |at: usize| {
        (at == 0 || bytes[at - 1] == b'/') && bytes.get(at + 1).is_none_or(|&next| next == b'/')
    };
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            0 => return Err(TopicError::NullCharacter),
            b'+' if !fills_level(at) => return Err(TopicError::SingleLevelWildcard),
            b'#' if !fills_level(at) || at + 1 != bytes.len() => {
                return Err(TopicError::MultiLevelWildcard);
            }
            _ => {}
        }
    }
    Ok(())
}
