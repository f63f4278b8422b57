//! What the fuzz targets run, here so that `cargo test` replays their corpora. Each checks invariants besides not
//! panicking. Not part of the API.

use bytes::{Buf, Bytes, BytesMut};

use crate::bitstream::amf0::read_values;
use crate::bitstream::nal::{self, Kind};
use crate::bitstream::{aac, ac3, av1, eac3, flac, h264, h265, mp3, opus, vp9};
use crate::container::flv::{Demuxer, TagKind};
use crate::media::{Event, TrackId};
use crate::protocol::rtmp::{self, Session, Tag};
use crate::runtime::Clock;

/// What a publisher sends after the handshake: the same whether it comes at once or in pieces.
pub fn rtmp_session(data: &[u8]) {
    let at_once = session(data, data.len().max(1));
    let in_pieces = session(data, 13);
    assert!(at_once == in_pieces, "a session must not depend on how its bytes are cut");
    let mut demuxer = Checked::new();
    for event in at_once {
        let rtmp::Event::Tag { tag, timestamp, body } = event else { continue };
        let kind = match tag {
            Tag::Audio => TagKind::Audio,
            Tag::Video => TagKind::Video,
            Tag::Script => TagKind::Script,
        };
        if !demuxer.push(kind, timestamp, body) {
            return;
        }
    }
    demuxer.finish();
}

fn session(data: &[u8], step: usize) -> Vec<rtmp::Event> {
    let mut session = Session::new();
    let mut input = BytesMut::from(&[3][..]);
    input.resize(1 + 2 * 1536, 0);
    session.push(&mut input).expect("a simple handshake of zeros is one");
    assert!(session.is_open() && input.is_empty(), "the handshake takes its own bytes and no more");
    let mut events = Vec::new();
    for part in data.chunks(step) {
        input.extend_from_slice(part);
        let pushed = session.push(&mut input);
        assert!(session.take_output().len() <= 8 * 1024 * (part.len() + 32), "answers are bounded by questions");
        while let Some(event) = session.pull() {
            if matches!(event, rtmp::Event::Publish(_)) {
                session.accept();
            }
            events.push(event);
        }
        if pushed.is_err() {
            break;
        }
        assert!(input.len() < 18, "only a cut header stays behind");
    }
    events
}

/// Tags: kind, four bytes of timestamp, two bytes of length, body.
pub fn flv_tags(data: &[u8]) {
    let mut demuxer = Checked::new();
    let mut rest = Bytes::copy_from_slice(data);
    while let Some(&[kind, t0, t1, t2, t3, high, low]) = rest.first_chunk() {
        rest.advance(7);
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let kind = match kind % 3 {
            0 => TagKind::Audio,
            1 => TagKind::Video,
            _ => TagKind::Script,
        };
        if !demuxer.push(kind, u32::from_be_bytes([t0, t1, t2, t3]), rest.split_to(length)) {
            return;
        }
    }
    demuxer.finish();
}

/// A demuxer of which every event is checked.
struct Checked {
    demuxer: Demuxer,
    tracks: Vec<TrackId>,
}

impl Checked {
    fn new() -> Self {
        Self { demuxer: Demuxer::new(), tracks: Vec::new() }
    }

    fn push(&mut self, kind: TagKind, timestamp: u32, body: Bytes) -> bool {
        let well = self.demuxer.push(kind, timestamp, body, Clock.now()).is_ok();
        self.check();
        well
    }

    fn finish(&mut self) {
        self.demuxer.finish();
        self.check();
    }

    fn check(&mut self) {
        while let Some(event) = self.demuxer.pull() {
            match event {
                Event::Tracks(tracks) => {
                    assert!(!tracks.is_empty(), "tracks are announced when there are some");
                    self.tracks = tracks.iter().map(|track| track.id).collect();
                }
                Event::Unit(unit) => {
                    assert!(self.tracks.contains(&unit.track), "a unit's track is announced before it");
                    assert!(unit.pts >= unit.dts && !unit.data.is_empty(), "a unit can be decoded, then shown");
                }
                Event::Gap => unreachable!("tags come over TCP: nothing is lost"),
            }
        }
    }
}

/// Values: what is read is written so that it is read again.
pub fn amf0(data: &[u8]) {
    let write = |values: &[_]| {
        let mut out = BytesMut::new();
        values.iter().for_each(|value: &crate::bitstream::amf0::Value| value.write(&mut out));
        out
    };
    if let Ok(values) = read_values(data) {
        let written = write(&values);
        let again = read_values(&written).expect("what is written can be read");
        assert!(write(&again) == written, "writing changes nothing");
    }
}

/// Configuration records, parameter sets in byte streams, access units and frames.
pub fn parameter_sets(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = h264::codec(bytes.clone());
    let _ = h265::codec(bytes.clone());
    let _ = av1::codec(bytes.clone());
    let _ = vp9::codec(bytes.clone(), data);
    let _ = aac::codec(bytes.clone());
    let _ = opus::codec(bytes.clone());
    let _ = flac::codec(&bytes);
    let _ = (ac3::codec(data), eac3::codec(data), mp3::codec(data));
    if let Ok(config) = h264::config_from_annexb(data) {
        let sets = h264::parameter_sets(&config).expect("a record that was made is one");
        assert!(h264::updated(&config, &sets.pps).is_err() || h264::updated(&config, &sets.pps) == Ok(None));
    }
    if let Ok(config) = h265::config_from_annexb(data) {
        let sets = h265::parameter_sets(&config).expect("a record that was made is one");
        assert!(h265::updated(&config, &sets.sps) == Ok(None), "its own sets are nothing new");
    }
    for kind in [Kind::H264, Kind::H265] {
        for length_size in [1, 2, 4] {
            if let Ok(found) = nal::normalize(&bytes, length_size, kind) {
                let again = nal::normalize(&found.data, 4, kind).expect("what is in form stays so");
                assert!(again.data == found.data && again.parameter_sets.is_empty());
            }
        }
    }
    let _ = av1::without_delimiter(bytes);
}
