//! See `headwater::fuzzing::amf0`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::fuzzing::amf0(data));
