//! What tags become. Whole publishers are in `tests/rtmp.rs`.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::bitstream::hex;
use crate::media::{AccessUnit, Codec};
use crate::runtime::Clock;

/// libx264, 1920x1080; and 720x576.
const AVCC: &str = "0142c028ffe1001b6742c028da01e0089f97016a020202800001f480007530078c195001000468ce0fc8";
const OTHER_AVCC: &str = "0164001effe100196764001eacd940b4126c1040000003004000000c83c58b65800100\
                          0668ebe3cb22c0fdf8f800";
/// libx265, 638x358.
const HEVC_SETS: &str = "00000001 40010c01ffff01600000030090000003000003003f959809 \
    00000001 42010101600000030090000003000003003fa005020169d565959a4932bc05a02000000300200000030301 \
    00000001 4401c172b46240";
const IDR: &[u8] = &[0, 0, 0, 3, 0x65, 1, 2];
const SLICE: &[u8] = &[0, 0, 0, 2, 0x41, 3];

/// Numbers and codecs of all tracks.
type Names = Vec<(u16, &'static str)>;

struct Publisher {
    demuxer: Demuxer,
    now: Instant,
}

impl Publisher {
    fn new() -> Self {
        Self { demuxer: Demuxer::new(), now: Clock.now() }
    }

    fn push(&mut self, kind: TagKind, timestamp: u32, parts: &[&[u8]]) -> Result<(), FlvError> {
        self.demuxer.push(kind, timestamp, parts.concat().into(), self.now)
    }

    fn video(&mut self, timestamp: u32, parts: &[&[u8]]) {
        self.push(TagKind::Video, timestamp, parts).unwrap();
    }

    fn audio(&mut self, timestamp: u32, parts: &[&[u8]]) {
        self.push(TagKind::Audio, timestamp, parts).unwrap();
    }

    fn metadata(&mut self, properties: &[(&str, f64)]) {
        let mut body = BytesMut::new();
        Value::from("@setDataFrame").write(&mut body);
        Value::from("onMetaData").write(&mut body);
        let object = properties.iter().map(|&(key, value)| (key.to_owned(), value.into())).collect();
        Value::Object(object).write(&mut body);
        self.push(TagKind::Script, 0, &[&body]).unwrap();
    }

    /// Codecs of every `Tracks`, and the units.
    fn out(&mut self) -> (Vec<Names>, Vec<AccessUnit>) {
        let (mut tracks, mut units) = (Vec::new(), Vec::new());
        while let Some(event) = self.demuxer.pull() {
            match event {
                Event::Tracks(all) => tracks.push(all.iter().map(|t| (t.id.0, t.codec.label())).collect()),
                Event::Unit(unit) => units.push(unit),
                Event::Gap => panic!("FLV loses nothing"),
            }
        }
        (tracks, units)
    }
}

fn hevc_record() -> Bytes {
    crate::bitstream::h265::config_from_annexb(&hex(HEVC_SETS)).unwrap()
}

const H264_HEADER: &[u8] = &[0x17, 0, 0, 0, 0];
const H264_KEY: &[u8] = &[0x17, 1, 0, 0, 40];
const H264_FRAME: &[u8] = &[0x27, 1, 0, 0, 0];
const AAC_HEADER: &[u8] = &[0xAF, 0, 0x12, 0x10];
const AAC_FRAME: &[u8] = &[0xAF, 1, 9, 9];

#[test]
fn announced_tracks_are_waited_for_and_come_in_one_event_before_the_units() {
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 7.0), ("audiocodecid", 10.0)]);
    publisher.video(0, &[H264_HEADER, &hex(AVCC)]);
    publisher.video(5, &[H264_KEY, IDR]);
    assert!(publisher.demuxer.pull().is_none());
    publisher.audio(3, &[AAC_HEADER]);
    let (tracks, units) = publisher.out();
    assert_eq!(tracks, [[(0, "H.264"), (100, "AAC")]]);
    assert_eq!((units.len(), units[0].dts.ticks(), units[0].pts.ticks()), (1, 5, 45));
    assert!(units[0].random_access);
    publisher.audio(26, &[AAC_FRAME]);
    let (_, units) = publisher.out();
    assert_eq!((units[0].track, units[0].data.as_ref()), (TrackId(100), &[9_u8, 9][..]));
    assert_eq!(units[0].duration.unwrap().ticks(), 1_024);
}

#[test]
fn a_track_that_is_alone_or_late_is_not_waited_for_longer_than_a_second() {
    let mut publisher = Publisher::new();
    publisher.video(0, &[H264_HEADER, &hex(AVCC)]);
    for timestamp in (0..1_000).step_by(40) {
        publisher.video(timestamp, &[H264_KEY, IDR]);
    }
    assert!(publisher.demuxer.pull().is_none());
    publisher.video(1_000, &[H264_KEY, IDR]);
    let (tracks, units) = publisher.out();
    assert_eq!((tracks, units.len()), (vec![vec![(0, "H.264")]], 26));
    publisher.audio(1_010, &[AAC_HEADER]);
    assert_eq!(publisher.out().0, [[(0, "H.264"), (100, "AAC")]]);
}

#[test]
fn metadata_that_announces_one_track_ends_the_wait_at_once() {
    let mut publisher = Publisher::new();
    publisher.metadata(&[("audiocodecid", 10.0)]);
    publisher.audio(0, &[AAC_HEADER]);
    assert_eq!(publisher.out().0, [[(100, "AAC")]]);
}

#[test]
fn what_is_held_back_comes_out_at_the_end() {
    let mut publisher = Publisher::new();
    publisher.video(0, &[H264_HEADER, &hex(AVCC)]);
    publisher.video(0, &[H264_KEY, IDR]);
    publisher.demuxer.finish();
    let (tracks, units) = publisher.out();
    assert_eq!((tracks.len(), units.len()), (1, 1));
}

fn started() -> Publisher {
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 7.0)]);
    publisher.video(0, &[H264_HEADER, &hex(AVCC)]);
    assert_eq!(publisher.out().0.len(), 1);
    publisher
}

#[test]
fn a_repeated_sequence_header_is_ignored_and_another_one_announced() {
    let mut publisher = started();
    publisher.video(40, &[H264_HEADER, &hex(AVCC)]);
    publisher.video(40, &[H264_HEADER]);
    assert!(publisher.out().0.is_empty());
    publisher.video(80, &[H264_HEADER, &hex(OTHER_AVCC)]);
    assert_eq!(publisher.out().0.len(), 1);
}

#[test]
fn parameter_sets_between_pictures_make_a_new_record() {
    let mut publisher = started();
    let sets = crate::bitstream::h264::parameter_sets(&hex(OTHER_AVCC)).unwrap();
    let mut unit = BytesMut::new();
    for nal in [&sets.sps[0], &sets.pps[0], &Bytes::from_static(&[0x65, 1])] {
        unit.put_u32(u32::try_from(nal.len()).unwrap());
        unit.put_slice(nal);
    }
    publisher.video(40, &[H264_KEY, &unit]);
    let Some(Event::Tracks(tracks)) = publisher.demuxer.pull() else { panic!("no new tracks") };
    assert_eq!(tracks[0].codec.video().unwrap().size.height, 576);
    let (_, units) = publisher.out();
    assert_eq!(units[0].data.as_ref(), [0, 0, 0, 2, 0x65, 1]);
    publisher.video(80, &[H264_KEY, &unit]);
    assert!(publisher.out().0.is_empty(), "the same again is nothing new");
}

#[test]
fn short_nal_lengths_are_made_long_and_so_says_the_record() {
    let mut record = hex(AVCC).to_vec();
    record[4] = 0xFD; // two bytes
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 7.0)]);
    publisher.video(0, &[H264_HEADER, &record]);
    publisher.video(0, &[H264_KEY, &[0, 3, 0x65, 1, 2]]);
    let Some(Event::Tracks(tracks)) = publisher.demuxer.pull() else { panic!("no tracks") };
    let Codec::H264 { config, .. } = &tracks[0].codec else { panic!("not H.264") };
    assert_eq!(config, &hex(AVCC));
    assert_eq!(publisher.out().1[0].data.as_ref(), IDR);
}

#[test]
fn ends_of_sequence_commands_and_pictureless_tags_are_nothing() {
    let mut publisher = started();
    publisher.video(40, &[&[0x17, 2, 0, 0, 0]]);
    publisher.video(40, &[&[0x57, 0, 0, 0, 0]]);
    publisher.video(40, &[&[0x27, 1, 0, 0, 0], &[0, 0, 0, 2, 0x06, 1]]);
    publisher.video(40, &[&[0x92], b"avc1"]);
    assert!(publisher.demuxer.pull().is_none());
    publisher.video(80, &[H264_FRAME, SLICE]);
    assert!(!publisher.out().1[0].random_access);
}

#[test]
fn composition_offsets_are_signed_and_never_show_before_decoding() {
    let mut publisher = started();
    publisher.video(100, &[&[0x27, 1, 0xFF, 0xFF, 0xF0], SLICE]);
    publisher.video(u32::MAX, &[&[0x27, 1, 0, 1, 0], SLICE]);
    let (_, units) = publisher.out();
    assert_eq!((units[0].dts.ticks(), units[0].pts.ticks()), (100, 100));
    assert_eq!((units[1].dts.ticks(), units[1].pts.ticks()), (4_294_967_295, 4_294_967_551));
}

#[test]
fn enhanced_rtmp_brings_hevc_with_and_without_composition_time() {
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 1_752_589_105.0)]); // "hvc1"
    publisher.video(0, &[&[0x90], b"hvc1", &hevc_record()]);
    publisher.video(0, &[&[0x91], b"hvc1", &[0, 0, 80], &[0, 0, 0, 3, 0x26, 1, 7]]);
    publisher.video(40, &[&[0xA3], b"hvc1", &[0, 0, 0, 3, 0x02, 1, 7]]);
    let (tracks, units) = publisher.out();
    assert_eq!(tracks, [[(0, "H.265")]]);
    let seen: Vec<_> = units.iter().map(|unit| (unit.pts.ticks(), unit.random_access)).collect();
    assert_eq!(seen, [(80, true), (40, false)]);
    // The same codec by the number that older encoders gave it.
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 12.0)]);
    publisher.video(0, &[&[0x1C, 0, 0, 0, 0], &hevc_record()]);
    assert_eq!(publisher.out().0, [[(0, "H.265")]]);
}

#[test]
fn enhanced_rtmp_brings_av1_and_vp9() {
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 1.0)]);
    publisher.video(0, &[&[0x90], b"av01", &hex("81000c00 0a0b000000043d06d4daf90040")]);
    publisher.video(0, &[&[0x91], b"av01", &hex("1200 32 01 00")]);
    let (tracks, units) = publisher.out();
    assert_eq!(tracks, [[(0, "AV1")]]);
    assert_eq!((units[0].data.as_ref(), units[0].random_access), (&[0x32, 1, 0][..], true));

    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 1.0)]);
    publisher.video(0, &[&[0x90], b"vp09", &hex("0014800202020000")]);
    publisher.video(0, &[&[0xA1], b"vp09", &hex("8600")]);
    assert!(publisher.demuxer.pull().is_none(), "the size is in the first key frame");
    publisher.video(40, &[&[0x91], b"vp09", &hex("824983420014100b560838241c184a0006607fd1")]);
    let (tracks, units) = publisher.out();
    assert_eq!((tracks, units.len()), (vec![vec![(0, "VP9")]], 1));
}

#[test]
fn enhanced_rtmp_brings_opus_ac3_eac3_flac_mp3_and_aac() {
    let flac = hex("664c614300000022120012000004f70005670ac442f00000227447a8bdc104009b7485185e039ef921e8");
    let opus = hex("4f707573486561640102380180bb0000000000");
    type Case<'a> = (&'a [u8; 4], &'a [u8], &'a [u8], &'a str);
    let cases: [Case<'_>; 6] = [
        (b"Opus", &opus, &[1, 2], "Opus"),
        (b"fLaC", &flac, &[1, 2], "FLAC"),
        (b"mp4a", &[0x12, 0x10], &[1, 2], "AAC"),
        (b"ac-3", &[], &hex("0b77b50b1e40ebf8403eff99ff0841fc"), "AC-3"),
        (b"ec-3", &[], &hex("0b7701a07487c0002084010039c0ae06"), "E-AC-3"),
        (b".mp3", &[], &hex("fff3700000000000"), "MP3"),
    ];
    for (four_cc, header, frame, label) in cases {
        let mut publisher = Publisher::new();
        publisher.metadata(&[("audiocodecid", 1.0)]);
        publisher.audio(0, &[&[0x90], four_cc, header]);
        publisher.audio(0, &[&[0x91], four_cc, frame]);
        let (tracks, units) = publisher.out();
        assert_eq!((tracks, units.len()), (vec![vec![(100, label)]], 1));
    }
}

#[test]
fn multitrack_tags_of_all_three_kinds_make_tracks_of_their_own() {
    let mut publisher = Publisher::new();
    publisher.metadata(&[("videocodecid", 7.0), ("audiocodecid", 10.0)]);
    let avcc = hex(AVCC);
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..].to_vec();
    // One track, number 3.
    publisher.video(0, &[&[0x96, 0x00], b"avc1", &[3], &avcc]);
    // Many tracks of one codec.
    publisher
        .audio(0, &[&[0x95, 0x10], b"mp4a", &[0], &size(&[1, 2]), &[0x12, 0x10], &[1], &size(&[1, 2]), &[0x12, 0x08]]);
    // Many tracks of many codecs: frames of avc1 on 3 and, not known yet, hvc1 on 4.
    let (idr, irap) = ([&[0, 0, 0], IDR].concat(), [0, 0, 0, 0, 0, 0, 2, 0x26, 1]);
    publisher.video(40, &[&[0x96, 0x21], b"avc1", &[3], &size(&idr), &idr, b"hvc1", &[4], &size(&irap), &irap]);
    let (tracks, units) = publisher.out();
    assert_eq!(tracks, [[(3, "H.264"), (100, "AAC"), (101, "AAC")]]);
    assert_eq!(units.iter().map(|unit| unit.track.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn modifiers_are_read_over() {
    let mut publisher = started();
    // Nanoseconds, then a modifier of 256 bytes, then coded frames without composition time.
    let (nanos, large) = ([2, 0, 1, 0, 0x07], [&[255, 0, 255][..], &[0; 256], &[0xF3]].concat());
    publisher.video(40, &[&[0x97], &nanos, &large, b"avc1", IDR]);
    assert_eq!(publisher.out().1.len(), 1);
}

#[test]
fn codecs_that_cannot_be_packaged_are_named_once_with_the_remedy() {
    let mut publisher = Publisher::new();
    for timestamp in 0..3 {
        publisher.video(timestamp, &[&[0x24, 1, 2, 3]]);
        publisher.video(timestamp, &[&[0x91], b"vvc1", &[1, 2]]);
        publisher.audio(timestamp, &[&[0xB2, 1]]);
    }
    let mut named = Vec::new();
    while let Some(warning) = publisher.demuxer.pull_warning() {
        named.push(warning.to_string());
    }
    assert_eq!(named.len(), 3);
    assert_eq!(
        named[0],
        "On2 VP6 cannot be packaged and is left out: set the encoder to H.264 for pictures and AAC for sound"
    );
    assert!(named[1].starts_with("vvc1 cannot"));
    assert_eq!(publisher.demuxer.take_skipped(), 9);
}

#[test]
fn a_publisher_of_nothing_else_is_ended() {
    let mut publisher = Publisher::new();
    let error = (0..1_000).find_map(|timestamp| publisher.push(TagKind::Video, timestamp, &[&[0x24, 1]]).err());
    assert_eq!(error.unwrap().to_string(), "nothing that can be packaged, only On2 VP6");
}

#[test]
fn broken_tags_are_errors_that_say_what_they_are() {
    let mut publisher = started();
    let mut error = |parts: &[&[u8]]| publisher.push(TagKind::Video, 0, parts).unwrap_err().to_string();
    assert_eq!(error(&[&[0x17, 1]]), "the video tag ends too early");
    assert_eq!(error(&[H264_HEADER, &[1, 2, 3]]), "the H.264 sequence header: byte 3: the avcC ends too early");
    assert_eq!(
        error(&[H264_KEY, &[0, 0, 1, 0, 0x65]]),
        "the H.264 frame: byte 0: a NAL unit is longer than what is left of its access unit"
    );
    let large = Bytes::from(vec![0x17; MOST_TAG_BYTES + 1]);
    let now = publisher.now;
    assert_eq!(publisher.demuxer.push(TagKind::Video, 0, large, now), Err(FlvError::TooLong(MOST_TAG_BYTES + 1)));
}

proptest! {
    #[test]
    fn made_up_tags_never_panic(tags in prop::collection::vec((0_u8..3, any::<u32>(), prop::collection::vec(any::<u8>(), 0..60)), 0..20)) {
        let mut publisher = Publisher::new();
        for (kind, timestamp, body) in tags {
            let kind = [TagKind::Audio, TagKind::Video, TagKind::Script][usize::from(kind)];
            let _ = publisher.push(kind, timestamp, &[&body]);
        }
    }
}
