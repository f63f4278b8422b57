//! Containers: bytes to access units and back. Push and pull; no I/O, no clock.

pub mod flv;
