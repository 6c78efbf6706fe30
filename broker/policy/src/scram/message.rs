//! The exchange's messages as text: attributes with a letter each. Pure. Spec: RFC 5802 section 7.

use super::exchange::ScramError;

/// Longest message that is read; a user name is most of it.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// client-first-message, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First<'a> {
    /// gs2-header, which client-final-message repeats in base 64.
    pub(super) header: &'a str,
    /// What follows: a part of what is signed.
    pub(super) bare: &'a str,
    pub(super) username: String,
    pub(super) nonce: &'a str,
}

/// client-final-message, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Final<'a> {
    /// The gs2-header in base 64.
    pub(super) binding: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: &'a str,
    /// All but the proof: a part of what is signed.
    pub(super) without_proof: &'a str,
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    let text = std::str::from_utf8(message).ok();
    text.filter(|text| text.len() <= MESSAGE_BYTES_MAX).ok_or(ScramError::Malformed)
}

fn value(attribute: Option<&str>, letter: char) -> Result<&str, ScramError> {
    let value = attribute.and_then(|text| text.strip_prefix(letter)?.strip_prefix('='));
    value.filter(|value| !value.is_empty()).ok_or(ScramError::Malformed)
}

pub(super) fn read_first(message: &[u8]) -> Result<First<'_>, ScramError> {
    let text = text(message)?;
    let mut fields = text.splitn(3, ',');
    let (flag, identity, bare) = (fields.next(), fields.next(), fields.next());
    match flag {
        Some("n" | "y") => {}
        Some(flag) if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
        _ => return Err(ScramError::Malformed),
    }
    let bare = bare.ok_or(ScramError::Malformed)?;
    let mut attributes = bare.split(',');
    // An extension that must be understood comes first and begins with `m`.
    let username = name(value(attributes.next(), 'n')?)?;
    let nonce = value(attributes.next(), 'r')?;
    match identity {
        Some("") => {}
        // To act for somebody else.
        Some(identity) if name(value(Some(identity), 'a')?)? == username => {}
        _ => return Err(ScramError::OtherIdentity),
    }
    let header = &text[..text.len() - bare.len()];
    Ok(First { header, bare, username, nonce })
}

/// A comma is written as `=2C` and an equals sign as `=3D`.
/// NUL is in no name. Spec: RFC 5802 section 7, `value-safe-char`.
fn name(text: &str) -> Result<String, ScramError> {
    if text.contains('\0') {
        return Err(ScramError::Malformed);
    }
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::Malformed),
        };
        name.push(sign);
        name.push_str(rest);
    }
    Ok(name)
}

pub(super) fn read_final(message: &[u8]) -> Result<Final<'_>, ScramError> {
    let text = text(message)?;
    let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
    let mut attributes = without_proof.split(',');
    let binding = value(attributes.next(), 'c')?;
    let nonce = value(attributes.next(), 'r')?;
    Ok(Final { binding, nonce, proof, without_proof })
}
