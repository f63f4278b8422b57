//! See `headwater::fuzzing::rtmp_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::fuzzing::rtmp_session(data));
