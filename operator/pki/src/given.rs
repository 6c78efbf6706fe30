//! An authority that somebody else keeps: used as it is, never renewed. Pure.

use jiff::Timestamp;

use crate::authority::{self, Authority};
use crate::certificate::CertificateFacts;
use crate::ensure::SecretData;
use crate::error::PkiError;

/// Reads an authority that is given: it is used as it is, whatever is due, since what was renewed
/// here would be stored nowhere and be another one each time. Renewing it is its owner's affair.
///
/// # Errors
/// [`PkiError::AuthorityBroken`] when an entry is missing, damaged or does not match the others,
/// [`PkiError::GivenAuthorityEnded`] when one has ended.
pub fn given_authority(data: &SecretData, now: Timestamp) -> Result<Authority, PkiError> {
    let authority = authority::read(data)?;
    for (entry, pem) in authority.certificates() {
        let facts = CertificateFacts::from_pem(pem.as_bytes())
            .map_err(|problem| PkiError::AuthorityBroken { entry: entry.clone(), problem })?;
        if now >= facts.not_after {
            return Err(PkiError::GivenAuthorityEnded { entry, not_after: facts.not_after });
        }
    }
    Ok(authority)
}
