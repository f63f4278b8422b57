//! Protocols: bytes to messages and back. State machines that hold no socket and no clock.

pub mod rtmp;
