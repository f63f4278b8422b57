//! Names from outside, parsed once: after this they are safe in URLs, paths, logs and metric labels.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A stream's name: 1 to 8 parts of `[A-Za-z0-9._-]` joined by `/`, no part starting with `.` or `_`, 128 bytes at
/// most: `live/cam1`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

const MAX_NAME_BYTES: usize = 128;
const MAX_NAME_PARTS: usize = 8;

/// Why a text is no [`StreamName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing between two slashes.
    #[error("a stream name has no empty part")]
    EmptyPart,
    /// More than 128 bytes.
    #[error("a stream name has {MAX_NAME_BYTES} bytes at most")]
    TooLong,
    /// More than eight parts.
    #[error("a stream name has {MAX_NAME_PARTS} parts at most")]
    TooManyParts,
    /// A part that starts with `.` (hidden) or `_` (reserved for media URLs).
    #[error("a part of a stream name does not start with '{0}'")]
    ReservedStart(char),
    /// A character outside `[A-Za-z0-9._-]`.
    #[error("a stream name has only letters, digits, '.', '_', '-' and '/', not '{}'", .0.escape_default())]
    Character(char),
}

impl StreamName {
    /// The name as it stands in URLs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        for (index, part) in text.split('/').enumerate() {
            if index == MAX_NAME_PARTS {
                return Err(NameError::TooManyParts);
            }
            match part.chars().next() {
                None => return Err(NameError::EmptyPart),
                Some(first @ ('.' | '_')) => return Err(NameError::ReservedStart(first)),
                Some(_) => {}
            }
            if let Some(odd) = part.chars().find(|c| !matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
            {
                return Err(NameError::Character(odd));
            }
        }
        Ok(Self(text.into()))
    }
}

// Equal texts are equal names and hash alike, since both are the text's.
impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for StreamName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}
impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.as_str().to_owned()
    }
}
impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What tells one rendition of a stream from another in URLs: `source`, `720p`, `audio`. 1 to 32 of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId(Arc<str>);

impl RenditionId {
    /// The id as it stands in URLs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RenditionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::EmptyPart);
        }
        if text.len() > 32 {
            return Err(NameError::TooLong);
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            Some(odd) => Err(NameError::Character(odd)),
            None => Ok(Self(text.into())),
        }
    }
}
impl fmt::Display for RenditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_urls_and_paths_can_carry_are_taken() {
        for name in ["a", "live/cam1", "a/b/c/d/e/f/g/h", "Live-2.x_y"] {
            assert_eq!(name.parse::<StreamName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_climb_hide_or_clash_are_refused() {
        let refused = |text: &str| text.parse::<StreamName>().unwrap_err();
        assert_eq!(refused(""), NameError::EmptyPart);
        assert_eq!(refused("live//x"), NameError::EmptyPart);
        assert_eq!(refused("live/../x"), NameError::ReservedStart('.'));
        assert_eq!(refused("live/_/x"), NameError::ReservedStart('_'));
        assert_eq!(refused("a/b/c/d/e/f/g/h/i"), NameError::TooManyParts);
        assert_eq!(refused("live/k?token=1"), NameError::Character('?'));
        assert_eq!(refused(&"x".repeat(129)), NameError::TooLong);
    }
}
