//! One way of seeing or hearing a stream.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FrameRate, RenditionId, Size, Track};

/// One way of seeing or hearing a stream: one track, in one size and rate. Pictures and sound are renditions of their
/// own (CMAF: demuxed).
#[derive(Clone, Debug, PartialEq)]
pub struct Rendition {
    /// Its name in URLs.
    pub id: RenditionId,
    /// Its track, with the codec's parameters as of its newest segment.
    pub track: Track,
    /// The largest rate of any segment, container included; zero until a segment is there.
    pub peak: Bitrate,
    /// The mean rate of all segments so far, container included.
    pub mean: Bitrate,
    /// Pictures as shown (after the sample aspect ratio); `None` for sound.
    pub size: Option<Size>,
    /// Measured, or announced; `None` for sound.
    pub frame_rate: Option<FrameRate>,
}

/// Bits per second. In configuration an integer, or a text such as `"2500k"` or `"4M"` (thousands, not 1024s).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RateText", into = "String")]
pub struct Bitrate(u64);

impl Bitrate {
    /// From bits per second.
    pub const fn new(bits_per_second: u64) -> Self {
        Self(bits_per_second)
    }

    /// Bits per second.
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RateText {
    Number(u64),
    Text(String),
}

impl TryFrom<RateText> for Bitrate {
    type Error = String;
    fn try_from(value: RateText) -> Result<Self, String> {
        match value {
            RateText::Number(bits) => Ok(Self(bits)),
            RateText::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Bitrate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("\"{}\" is no bit rate (try \"2500k\" or \"4M\")", text.escape_default());
        let (digits, unit) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1_000),
            Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
            _ => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| refused())?;
        number.checked_mul(unit).map(Self).ok_or_else(refused)
    }
}

impl From<Bitrate> for String {
    fn from(rate: Bitrate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits != 0 && bits.is_multiple_of(1_000_000) => write!(f, "{}M", bits / 1_000_000),
            bits if bits != 0 && bits.is_multiple_of(1_000) => write!(f, "{}k", bits / 1_000),
            bits => write!(f, "{bits}"),
        }
    }
}
