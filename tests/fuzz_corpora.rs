//! Every committed corpus of `fuzz/` runs through its target, as the fuzzer would run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        run(&input);
        // Cut off anywhere, as connections are, and with a byte turned over here and there.
        for at in (0..input.len()).step_by(input.len() / 60 + 1) {
            run(&input[..at]);
            let mut other = input.clone();
            other[at] ^= 0x55;
            run(&other);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn rtmp_sessions() {
    replay("rtmp_session", headwater::fuzzing::rtmp_session);
}

#[test]
fn flv_tags() {
    replay("flv_tags", headwater::fuzzing::flv_tags);
}

#[test]
fn amf0_values() {
    replay("amf0", headwater::fuzzing::amf0);
}

#[test]
fn parameter_sets() {
    replay("parameter_sets", headwater::fuzzing::parameter_sets);
}
