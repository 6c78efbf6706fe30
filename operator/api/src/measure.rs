//! Durations and amounts of bytes as Kubernetes writes them. Pure.

use std::time::Duration;

/// Reads a duration such as `168h`, `1h30m` or `10s`.
///
/// Returns `None` unless it consists of whole hours, minutes and seconds and fits.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut number: Option<u64> = None;
    for character in text.chars() {
        if let Some(digit) = character.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match character {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && !text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// Reads an amount of bytes such as `65536`, `64Ki`, `10M` or `1Gi`.
///
/// Returns `None` unless it is a whole number with one of these units and fits.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_whole_units() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("10s"), Some(Duration::from_secs(10)));
        for bad in ["", "10", "h", "1.5h", "1d", "-1h", "99999999999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_know_decimal_and_binary_units() {
        assert_eq!(bytes("64Ki"), Some(65536));
        assert_eq!(bytes("10M"), Some(10_000_000));
        assert_eq!(bytes("7"), Some(7));
        for bad in ["", "Ki", "1.5Gi", "1m", "99999999999Ti", "-1"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
