//! One elementary stream of a publisher or of a rendition.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Codec, Timescale};

/// Tells a publisher's tracks apart; an access unit names its own by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u16);

/// One elementary stream and its clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Which one, among those of the same publisher or rendition.
    pub id: TrackId,
    /// The clock of its access units.
    pub timescale: Timescale,
    /// With parameters.
    pub codec: Codec,
    /// Of speech; `None` when nobody said.
    pub language: Option<Language>,
    /// Ticks by which the first `dts` lies before the first moment that is meant to be seen or heard: reordering of
    /// pictures, priming of an audio encoder. Becomes the edit list.
    pub delay: u64,
}

/// A language tag of BCP 47 that fits into 35 characters: `en`, `pt-BR`, `und`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(Arc<str>);

impl Language {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| matches!(part.len(), 1..=8) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let letters = text.split('-').next().is_some_and(|p| p.len() > 1 && p.bytes().all(|b| b.is_ascii_alphabetic()));
        if text.len() <= 35 && letters && text.split('-').all(part) {
            Ok(Self(text.into()))
        } else {
            Err(format!("\"{}\" is no BCP 47 language tag (try \"en\" or \"pt-BR\")", text.escape_default()))
        }
    }
}
impl TryFrom<String> for Language {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.as_str().to_owned()
    }
}
impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
