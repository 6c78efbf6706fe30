//! Names in the file: which are legal, and the ordinal in a broker's name. Pure.

/// Stands for the broker's ordinal in the paths of the peer files.
pub const ORDINAL_PLACEHOLDER: &str = "{ordinal}";

/// Longest name, that of a DNS label. Source: RFC 1123 section 2.1.
pub(crate) const NAME_LENGTH_MAX: usize = 63;

/// The number that ends a broker's name after its last `-`: `fleet-2` gives 2.
///
/// `None` when there is none, or when it is written with a leading zero or sign.
pub fn ordinal_of(broker_name: &str) -> Option<u32> {
    let (_, digits) = broker_name.rsplit_once('-')?;
    let ordinal: u32 = digits.parse().ok()?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

/// Whether `name` is a DNS label: lower-case letters, digits and inner `-`, 1 to 63 of them.
pub(crate) fn is_label(name: &str) -> bool {
    (1..=NAME_LENGTH_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether `id` may be a cluster's id: 1 to 63 ASCII letters and digits, so that its lower case
/// is a DNS label.
pub(crate) fn is_cluster_id(id: &str) -> bool {
    (1..=NAME_LENGTH_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Of `valid`, the word that needs the fewest edits to become `written`; `None` when none is
/// within half its length.
pub fn nearest<'a>(written: &str, valid: &[&'a str]) -> Option<&'a str> {
    valid
        .iter()
        .map(|candidate| (edits(written, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(2) / 2)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals and replacements that turn `a` into `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinal_is_the_number_after_the_last_dash() {
        assert_eq!(ordinal_of("fleet-0"), Some(0));
        assert_eq!(ordinal_of("north-fleet-12"), Some(12));
        for bad in ["fleet", "fleet-", "fleet-01", "fleet-+1", "fleet-x", "-", ""] {
            assert_eq!(ordinal_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn nearest_word_is_the_one_with_fewest_edits() {
        assert_eq!(nearest("listner", &["listen", "limits", "listener"]), Some("listener"));
        assert_eq!(nearest("zzzzzzzz", &["listen", "limits"]), None);
    }

    #[test]
    fn labels_and_cluster_ids_are_bounded_words() {
        assert!(is_label("tls") && is_label("a-1"));
        assert!(!is_label("") && !is_label("-a") && !is_label("a-") && !is_label("A"));
        assert!(!is_label(&"a".repeat(64)));
        assert!(is_cluster_id("01KABC") && !is_cluster_id("") && !is_cluster_id("a.b"));
    }
}
