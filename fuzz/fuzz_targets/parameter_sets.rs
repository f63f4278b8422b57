//! See `headwater::fuzzing::parameter_sets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater::fuzzing::parameter_sets(data));
