//! Lengths of time in configuration: `"500ms"`, `"2s"`, `"1m30s"`, `"1h"`. For `#[serde(with = …)]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Units and their milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a text such as `"1m30s"`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("\"{}\" is no length of time (try \"500ms\", \"2s\" or \"1m30s\")", text.escape_default());
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        let number: u64 = number.parse().map_err(|_| refused())?;
        total = number.checked_mul(*millis).and_then(|millis| total.checked_add(millis)).ok_or_else(refused)?;
        rest = after;
    }
    if text.is_empty() { Err(refused()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes it as [`parse`] reads it, to the millisecond.
pub fn format(duration: &Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if left >= millis {
            text.push_str(&format!("{}{unit}", left / millis));
            left %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// For serde.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// For serde.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_alike() {
        for (text, millis) in [("2s", 2_000), ("500ms", 500), ("1m30s", 90_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
            assert_eq!(format(&Duration::from_millis(millis)), text);
        }
        assert_eq!(parse("90s").map(|d| format(&d)).as_deref(), Ok("1m30s"));
    }

    #[test]
    fn what_has_no_unit_or_a_wrong_one_is_refused_with_an_example() {
        for text in ["", "2", "s", "2 s", "-1s", "1.5s", "2x", "99999999999999999999s", "999999999999999999d"] {
            assert!(parse(text).unwrap_err().contains("try \"500ms\""), "{text}");
        }
    }
}
