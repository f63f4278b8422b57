//! Durations in configuration: `"2s"`, `"500ms"`, `"1m30s"`, `"1h"`. For `#[serde(with = "duration_text")]`.

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The length that a text means.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("\"{}\" is no duration (try \"2s\", \"500ms\" or \"1m30s\")", text.escape_default());
    let mut rest = text;
    let mut millis = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let number: u64 = rest[..digits].parse().map_err(|_| refused())?;
        let unit = UNITS.iter().find(|(unit, _)| *unit == &rest[digits..unit_end]).ok_or_else(refused)?.1;
        millis = number.checked_mul(unit).and_then(|part| millis.checked_add(part)).ok_or_else(refused)?;
        rest = &rest[unit_end..];
    }
    if text.is_empty() { Err(refused()) } else { Ok(Duration::from_millis(millis)) }
}

/// The shortest text that means this length, to the millisecond.
pub fn format(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, length) in UNITS {
        let length = u128::from(length);
        if millis >= length {
            let _ = write!(text, "{}{unit}", millis / length);
            millis %= length;
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
    serializer.serialize_str(&format(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_lengths_go_both_ways() {
        for (text, millis) in [("2s", 2_000), ("500ms", 500), ("1m30s", 90_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis));
            assert_eq!(format(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "2", "s", "2 s", "2d", "-1s", "99999999999999999999s"] {
            assert!(parse(text).unwrap_err().contains("try"), "{text}");
        }
    }
}
