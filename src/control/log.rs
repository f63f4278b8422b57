//! Logging: to standard error, for people or for machines.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is said: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives as the environment variable
    /// `RUST_LOG` takes them, which wins over this key.
    pub level: String,
    /// `text` for people, `json` for machines.
    pub format: Format,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Format {
    #[default]
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// Begins logging. A second call changes nothing.
pub fn start(config: &Config) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives),
        _ => EnvFilter::try_new(&config.level),
    };
    let filter = filter.map_err(|error| format!("log.level: \"{}\": {error}", config.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Somebody has started it already: then it stays as it is.
    let _ = match config.format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().try_init(),
    };
    Ok(())
}
