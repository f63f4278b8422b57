//! See `headwater::fuzzing::flv_tags`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::fuzzing::flv_tags(data));
