//! MPEG-TS segments, taken apart packet by packet and read by ffprobe.

use std::collections::BTreeMap;

use super::*;
use crate::media::AudioFormat;
use crate::media::testing::{audio_track, video_track};

fn nal(length: usize, sync: bool) -> Bytes {
    let mut data = u32::try_from(length).unwrap().to_be_bytes().to_vec();
    data.push(if sync { 0x65 } else { 0x41 });
    data.resize(4 + length, 0xAB);
    data.into()
}

fn pictures_of(sizes: &[usize]) -> Vec<Sample> {
    let sample = |(index, size): (usize, &usize)| Sample {
        duration: 3_000,
        composition_offset: 6_000,
        sync: index == 0,
        data: nal(*size, index == 0),
    };
    sizes.iter().enumerate().map(sample).collect()
}

fn frames(count: usize) -> Vec<Sample> {
    let frame = Sample { duration: 1_024, composition_offset: 0, sync: true, data: Bytes::from(vec![7; 340]) };
    vec![frame; count]
}

fn made(sizes: &[usize], frame_count: usize) -> Bytes {
    let (video, audio) = (video_track(), audio_track());
    let video = Stream { track: &video, start: MediaTime::new(900_000, video.timescale), samples: pictures_of(sizes) };
    let audio = Stream { track: &audio, start: MediaTime::new(480_000, audio.timescale), samples: frames(frame_count) };
    segment(Some(&video), Some(&audio)).unwrap()
}

#[test]
fn counters_run_through_every_segment_and_end_where_the_next_begins() {
    for sizes in [vec![1], vec![9_000, 1, 180, 176, 177], vec![50_000, 3_000, 3_000, 700]] {
        let bytes = made(&sizes, 13);
        assert_eq!(bytes.len() % 188, 0);
        let mut counters: BTreeMap<u16, usize> = BTreeMap::new();
        for packet in bytes.chunks(188) {
            assert_eq!(packet[0], 0x47);
            let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
            let count = counters.entry(pid).or_default();
            assert_eq!(usize::from(packet[3] & 0x0F), *count % 16, "pid {pid}");
            assert_ne!(packet[3] & 0x10, 0, "a packet without payload does not count");
            *count += 1;
        }
        assert_eq!(counters.keys().copied().collect::<Vec<_>>(), [PAT_PID, VIDEO_PID, AUDIO_PID, PMT_PID]);
        assert!(counters.values().all(|count| count % 16 == 0), "{counters:?}");
    }
}

#[test]
fn the_same_samples_give_the_same_bytes() {
    assert_eq!(made(&[5_000, 400, 400], 9), made(&[5_000, 400, 400], 9));
}

#[test]
fn a_codec_without_a_stream_type_is_refused() {
    let mut track = audio_track();
    track.codec = Codec::Opus { config: Bytes::new(), audio: AudioFormat { sample_rate: 48_000, channels: 2 } };
    let start = MediaTime::new(0, track.timescale);
    let stream = Stream { track: &track, start, samples: frames(1) };
    assert_eq!(segment(None, Some(&stream)), Err(TsError::Codec("Opus")));
}

#[test]
fn ffprobe_reads_pictures_sound_and_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segment.ts");
    std::fs::write(&path, made(&[9_000, 400, 400, 400, 12], 20)).unwrap();
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "fatal", "-show_entries", "packet=codec_type,pts,dts", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .expect("ffprobe is installed by make setup");
    let text = String::from_utf8(output.stdout).unwrap();
    let of = |kind: &str| {
        text.lines()
            .filter(|line| line.starts_with(kind))
            .map(|line| line.trim_end_matches(',').to_owned())
            .collect::<Vec<_>>()
    };
    let video = of("video");
    assert_eq!(video.len(), 5, "{text}");
    assert_eq!(video[0], "video,906000,900000");
    assert_eq!(video[1], "video,909000,903000");
    let audio = of("audio");
    assert_eq!(audio.len(), 20, "{text}");
    assert_eq!(audio[0], "audio,900000,900000");
}
