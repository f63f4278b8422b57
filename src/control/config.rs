//! The configuration file. Each stage owns its part; here they are put together, read and judged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log;
use crate::media::duration_text;
use crate::{ingest, origin, package, stream, transcode, window};

/// `headwater.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where players come.
    pub http: origin::Config,
    /// Where publishers come.
    pub rtmp: ingest::rtmp::Config,
    /// Streams and their publishers.
    pub stream: stream::Config,
    /// What is made of a source.
    pub transcode: transcode::Config,
    /// Where segments end.
    pub segment: package::Config,
    /// What can be watched.
    pub window: window::Config,
    /// The process.
    pub server: Server,
    /// What is said about it.
    pub log: log::Config,
    /// Files that are published.
    pub file: Vec<ingest::file::Config>,
}

/// `[server]`: the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// How long viewers may take to fetch what is left after a SIGTERM. Who has it leaves sooner.
    #[serde(with = "duration_text")]
    pub grace: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10) }
    }
}

/// Of connections, publishers, streams: more than any machine holds.
const MOST: usize = 1_000_000;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no configuration; the text names line and column.
    #[error("{}: {message}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// It reads well and makes no sense.
    #[error("{}: {key}: {message}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl Config {
    /// The configuration in a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// The configuration in a text; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string() })?;
        match config.judge() {
            Ok(()) => Ok(config),
            Err((key, message)) => Err(ConfigError::Value { path: path.to_owned(), key, message }),
        }
    }

    /// What a stream that starts now is made with.
    pub fn setup(&self) -> stream::Setup {
        stream::Setup {
            stream: self.stream.clone(),
            transcode: self.transcode.clone(),
            segment: self.segment.clone(),
            window: self.window.clone(),
        }
    }

    /// The same, but for what [`Config::setup`] holds: a difference here needs a restart.
    pub fn differs_beyond_setup(&self, other: &Self) -> bool {
        let rest = |config: &Self| Self {
            stream: stream::Config::default(),
            transcode: transcode::Config::default(),
            segment: package::Config::default(),
            window: window::Config::default(),
            ..config.clone()
        };
        rest(self) != rest(other)
    }

    fn judge(&self) -> Result<(), (&'static str, String)> {
        let between = |key, value: Duration, least: Duration, most: Duration| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let (least, most) = (duration_text::format(least), duration_text::format(most));
            Err((key, format!("{} is not between {least} and {most}", duration_text::format(value))))
        };
        let secs = Duration::from_secs;
        between("segment.target", self.segment.target, Duration::from_millis(500), secs(30))?;
        if !self.segment.part.is_zero() {
            between("segment.part", self.segment.part, Duration::from_millis(200), self.segment.target)
                .map_err(|(key, message)| (key, format!("{message}; \"0s\" makes no parts")))?;
        }
        between("window.length", self.window.length, self.segment.target * 3, secs(24 * 3_600))
            .map_err(|(key, message)| (key, format!("{message}; three segments are the least")))?;
        between("stream.linger", self.stream.linger, secs(0), secs(24 * 3_600))?;
        between("rtmp.idle_timeout", self.rtmp.idle_timeout, secs(1), secs(3_600))?;
        between("http.header_timeout", self.http.header_timeout, secs(1), secs(3_600))?;
        between("http.write_timeout", self.http.write_timeout, secs(1), secs(3_600))?;
        between("server.grace", self.server.grace, secs(0), secs(3_600))?;
        for (key, value) in [
            ("stream.max_streams", self.stream.max_streams),
            ("rtmp.max_publishers", self.rtmp.max_publishers),
            ("http.max_connections", self.http.max_connections),
        ] {
            if !(1..=MOST).contains(&value) {
                return Err((key, format!("{value} is not between 1 and {MOST}")));
            }
        }
        if self.window.max_bytes.get() < 16 << 20 {
            return Err(("window.max_bytes", format!("{} is less than 16MiB", self.window.max_bytes)));
        }
        self.transcode.judge().map_err(|message| ("transcode.ladder", message))?;
        let mut names = BTreeSet::new();
        if let Some(twice) = self.file.iter().find(|file| !names.insert(&file.stream)) {
            return Err((
                "file.stream",
                format!("\"{}\" is there twice; every stream has one publisher", twice.stream),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("headwater.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_file_says_every_key_with_its_default() {
        let text = include_str!("../../config/headwater.toml");
        assert_eq!(parse(text).unwrap(), Config::default());
        // Every key that there is must stand in it, as a key or behind a comment sign.
        let all: toml::Table = toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
        for (section, keys) in &all {
            let Some(keys) = keys.as_table() else { continue };
            assert!(text.contains(&format!("\n[{section}]\n")), "[{section}] is not documented");
            for key in keys.keys() {
                assert!(text.contains(&format!("\n{key} = ")), "{section}.{key} is not documented");
            }
        }
        for key in ["[[file]]", "# stream = ", "# path = ", "# repeat = "] {
            assert!(text.contains(key), "{key} is not documented");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_column() {
        let error = parse("[http]\nlisten = \"[::]:80\"\nport = 1\n").unwrap_err();
        assert!(error.contains("line 3, column 1") && error.contains("port"), "{error}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_with_its_key() {
        let error = parse("[segment]\ntarget = \"1ms\"\n").unwrap_err();
        assert!(error.contains("segment.target: 1ms is not between 500ms and 30s"), "{error}");
        let error = parse("[segment]\ntarget = \"2 sec\"\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("try \"2s\""), "{error}");
        let error = parse("[window]\nlength = \"3s\"\n").unwrap_err();
        assert!(error.contains("three segments"), "{error}");
    }

    #[test]
    fn what_needs_a_restart_is_known() {
        let old = Config::default();
        let new = parse("[window]\nlength = \"30s\"\n").unwrap();
        assert!(!new.differs_beyond_setup(&old));
        let new = parse("[http]\nlisten = \"[::]:81\"\n").unwrap();
        assert!(new.differs_beyond_setup(&old));
    }
}
