//! What is not on the data's way: configuration and its reload, logging, metrics, the API and the pages. Only `server` and
//! `main` import it.

pub mod api;
pub mod config;
pub mod log;
pub mod metrics;
pub mod reload;
pub mod ui;

pub use config::Config;
