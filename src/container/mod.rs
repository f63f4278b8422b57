//! Bytes to access units and back, push and pull: no I/O, no clock.

pub mod flv;
pub mod fmp4;
pub mod ts;
