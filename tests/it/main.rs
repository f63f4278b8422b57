//! The whole server, as its users meet it: the real binary, real publishers, real readers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod commands;
mod dash;
mod enhanced;
mod film;
mod http;
mod low_latency;
mod playlist;
mod rig;
mod sources;
mod streams;
