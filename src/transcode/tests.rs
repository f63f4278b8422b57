//! The whole transcoder on clips made in the process, with x264 and with encoders that stand still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::encode::{Encode, Open};
use super::*;
use crate::libav::{Coded, Colors, Decoder, Error, Picture, VideoEncoder, VideoSettings, encode_sound_for_test};
use crate::media::{AudioFormat, Bitrate, Codec, FrameRate, Size, Timescale};
use crate::runtime::Clock;

const START: i64 = 900_000;
const FRAME: i64 = 3_000;

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

fn rung(id: &str, width: u32, height: u32) -> Rung {
    Rung {
        id: id.parse().unwrap(),
        size: size(width, height),
        bitrate: Bitrate::new(200_000),
        frame_rate: None,
        preset: "ultrafast".to_owned(),
    }
}

/// A diagonal that moves.
fn drawn(size: Size, n: usize) -> Picture {
    let mut picture = Picture::blank(size);
    let (luma, stride) = picture.plane_mut(0);
    for (row, line) in luma.chunks_exact_mut(stride).enumerate() {
        for (column, sample) in line.iter_mut().enumerate() {
            *sample = u8::try_from((row + column + n * 5) % 200 + 20).unwrap();
        }
    }
    for plane in 1..3 {
        picture.plane_mut(plane).0.fill(128);
    }
    picture
}

struct Clip {
    track: Track,
    units: Vec<AccessUnit>,
}

impl Clip {
    fn new(size: Size, times: &[i64], keys: &[usize], b_frames: usize, more: &'static str) -> Self {
        let settings = VideoSettings {
            size,
            scale: Timescale::MPEG,
            frame_rate: FrameRate { numerator: 30, denominator: 1 },
            bitrate: Bitrate::new(500_000),
            preset: "ultrafast".to_owned(),
            tune: None,
            threads: 1,
            b_frames,
            more,
        };
        let mut encoder = VideoEncoder::open(&settings, Colors::of(&drawn(size, 0))).unwrap();
        let mut coded = Vec::new();
        for (n, &pts) in times.iter().enumerate() {
            let mut picture = drawn(size, n);
            picture.set_pts(pts);
            encoder.send(&mut picture, keys.contains(&n)).unwrap();
            coded.extend(std::iter::from_fn(|| encoder.receive().unwrap()));
        }
        encoder.finish();
        coded.extend(std::iter::from_fn(|| encoder.receive().unwrap()));
        let config = crate::bitstream::h264::config_from_annexb(&encoder.parameter_sets().unwrap()).unwrap();
        let codec = crate::bitstream::h264::codec(config).unwrap();
        let track = Track { id: TrackId(1), timescale: Timescale::MPEG, codec, language: None, delay: 0 };
        let units = coded.into_iter().map(|coded| unit(&coded, Timescale::MPEG, TrackId(1))).collect();
        Self { track, units }
    }
}

fn unit(coded: &Coded, scale: Timescale, track: TrackId) -> AccessUnit {
    AccessUnit {
        track,
        dts: MediaTime::new(coded.dts, scale),
        pts: MediaTime::new(coded.pts, scale),
        duration: None,
        random_access: coded.key,
        data: coded.data.clone(),
        received: Clock.now(),
    }
}

fn steady(frames: usize) -> Vec<i64> {
    (0..frames).map(|n| START + i64::try_from(n).unwrap() * FRAME).collect()
}

#[derive(Default, Debug)]
struct Got {
    track: Option<Track>,
    units: Vec<AccessUnit>,
    skipped: Vec<(i64, i64, u64)>,
    shed: Option<String>,
}

impl Got {
    fn times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.units.iter().map(|unit| unit.pts.ticks()).collect();
        times.sort_unstable();
        times
    }

    fn keys(&self) -> Vec<i64> {
        self.units.iter().filter(|unit| unit.random_access).map(|unit| unit.pts.ticks()).collect()
    }

    /// What packaging relies on.
    fn check_decode_times(&self) {
        let delay = i64::try_from(self.track.as_ref().unwrap().delay).unwrap();
        let (first, mut last) = (self.units[0].pts.ticks(), i64::MIN);
        for unit in &self.units {
            let (dts, pts) = (unit.dts.ticks(), unit.pts.ticks());
            assert!(dts > last && dts <= pts, "{last} then {dts}, shown at {pts}");
            assert!(dts + delay >= first);
            last = dts;
        }
    }

    fn pictures(&self) -> Vec<(i64, Size)> {
        let mut decoder = Decoder::open(self.track.as_ref().unwrap(), Timescale::MPEG, 1).unwrap();
        let mut pictures = Vec::new();
        for unit in &self.units {
            decoder.send(unit).unwrap();
            pictures.extend(std::iter::from_fn(|| decoder.picture().unwrap()).map(|p| (p.pts().unwrap(), p.size())));
        }
        decoder.finish();
        pictures.extend(std::iter::from_fn(|| decoder.picture().unwrap()).map(|p| (p.pts().unwrap(), p.size())));
        pictures
    }
}

fn sort(all: &mut BTreeMap<String, Got>, output: Output) {
    let (Output::Track { rendition, .. }
    | Output::Unit { rendition, .. }
    | Output::Skipped { rendition, .. }
    | Output::Shed { rendition, .. }) = &output;
    let got = all.entry(rendition.as_str().to_owned()).or_default();
    match output {
        Output::Track { track, .. } => got.track = Some(track),
        Output::Unit { unit, .. } => got.units.push(unit),
        Output::Skipped { from, to, pictures, .. } => got.skipped.push((from.ticks(), to.ticks(), pictures)),
        Output::Shed { reason, .. } => got.shed = Some(reason),
    }
}

enum Input<'a> {
    Unit(&'a AccessUnit),
    Gap,
    Track(&'a Track),
}

/// Everything through x264, nothing lost.
fn transcode<'a>(
    video: Option<(&Track, Vec<Rung>)>,
    audio: Vec<(RenditionId, Track)>,
    cuts: &[i64],
    input: impl Iterator<Item = Input<'a>>,
) -> BTreeMap<String, Got> {
    let (sender, mut output) = mpsc::channel(10_000);
    let list = Cuts::default();
    for &at in cuts {
        list.push(MediaTime::new(at, Timescale::MPEG));
    }
    let mut transcoder = Transcoder::start(video, audio, &Config::default(), &list, &sender, Pressure::Wait).unwrap();
    drop(sender);
    for one in input {
        match one {
            Input::Unit(unit) => transcoder.feed(unit),
            Input::Gap => transcoder.gap(),
            Input::Track(track) => transcoder.update(track),
        }
    }
    assert_eq!(transcoder.health(), Health::default());
    transcoder.finish();
    let mut all = BTreeMap::new();
    while let Some(output) = output.blocking_recv() {
        sort(&mut all, output);
    }
    all
}

fn whole(clip: &Clip, rungs: Vec<Rung>, cuts: &[i64]) -> BTreeMap<String, Got> {
    transcode(Some((&clip.track, rungs)), Vec::new(), cuts, clip.units.iter().map(Input::Unit))
}

#[test]
fn every_rung_cuts_at_the_cuts_and_nowhere_else_and_shows_every_picture_when_the_source_does() {
    let times = steady(90);
    // The source's own key pictures are elsewhere.
    let clip = Clip::new(size(320, 180), &times, &[0, 37, 60], 2, "");
    let rungs = vec![
        rung("same", 320, 180),
        rung("small", 160, 90),
        Rung { frame_rate: Some(15), ..rung("slow", 80, 46) },
        Rung { preset: "veryfast".to_owned(), ..rung("better", 240, 136) },
    ];
    // The third cut lies between two pictures.
    let cuts = [times[0], times[30], times[45] + 1_000, times[71]];
    let expected = [times[0], times[30], times[46], times[71]];
    let all = whole(&clip, rungs.clone(), &cuts);
    for rung in &rungs {
        let got = &all[rung.id.as_str()];
        assert_eq!(got.keys(), expected, "{}", rung.id);
        got.check_decode_times();
        let pictures = got.pictures();
        assert!(pictures.iter().all(|&(_, size)| size == rung.size));
        assert_eq!(pictures.iter().map(|&(pts, _)| pts).collect::<Vec<_>>(), got.times());
        let track = got.track.as_ref().unwrap();
        let Codec::H264 { video, config } = &track.codec else { panic!("H.264") };
        let profile = if rung.preset == "veryfast" { 100 } else { 77 };
        assert_eq!((video.size, video.sample_aspect, config[1]), (rung.size, (1, 1), profile));
        assert_eq!(got.units[0].dts.ticks() + i64::try_from(track.delay).unwrap(), times[0]);
        if rung.frame_rate.is_none() {
            assert_eq!(got.times(), times);
        }
    }
    let slow = all["slow"].times();
    assert!((45..=50).contains(&slow.len()) && slow.iter().all(|pts| times.contains(pts)));
    // NAL units behind 4-byte lengths, no parameter sets among them.
    for unit in &all["small"].units {
        for nal in crate::bitstream::nal::length_prefixed(&unit.data, 4) {
            assert!(matches!(nal.unwrap()[0] & 0x1F, 1 | 5 | 6));
        }
    }
}

#[test]
fn pictures_at_odd_times_keep_them_and_a_hole_does_not_move_the_cut_behind_it() {
    let mut times: Vec<i64> = (0..40).map(|n| START + n * FRAME + (n % 3) * 700).collect();
    times.extend((0..20).map(|n| START + 1_000_000 + n * FRAME * 2));
    let clip = Clip::new(size(160, 90), &times, &[0, 40], 2, "");
    let all = whole(&clip, vec![rung("r", 80, 46)], &[times[0], times[40]]);
    let got = &all["r"];
    got.check_decode_times();
    assert_eq!((got.times(), got.keys()), (times.clone(), vec![times[0], times[40]]));
    let delay = i64::try_from(got.track.as_ref().unwrap().delay).unwrap();
    let behind = got.units.iter().find(|unit| unit.pts.ticks() == times[40]).unwrap();
    assert_eq!(behind.dts.ticks(), times[40] - delay);
}

#[test]
fn a_gap_lets_everything_out_and_begins_with_a_random_access_point() {
    let times = steady(60);
    let clip = Clip::new(size(160, 90), &times, &[0, 40], 2, "");
    let at = clip.units.iter().position(|unit| unit.pts.ticks() == times[40]).unwrap();
    let (before, after) = clip.units.split_at(at);
    let input = before[..20].iter().map(Input::Unit).chain([Input::Gap]).chain(after.iter().map(Input::Unit));
    let all = transcode(Some((&clip.track, vec![rung("r", 80, 46)])), Vec::new(), &[times[0]], input);
    let got = &all["r"];
    got.check_decode_times();
    assert_eq!(got.keys(), [times[0], times[40]]);
    assert_eq!(got.units.len(), 40);
}

#[test]
fn interlaced_anamorphic_pictures_become_progressive_square_ones_each_once() {
    let times = steady(50);
    let clip = Clip::new(size(192, 144), &times, &[0, 25], 2, "tff=1:sar=4/3");
    let plan = plan(&toml::from_str("ladder = [{ height = 72 }]").unwrap(), clip.track.codec.video());
    assert_eq!(plan.rungs[0].size, size(128, 72));
    let all = whole(&clip, plan.rungs, &[times[0], times[25]]);
    let got = &all["72p"];
    got.check_decode_times();
    assert_eq!((got.times(), got.keys()), (times.clone(), vec![times[0], times[25]]));
    assert!(got.pictures().iter().all(|&(_, shown)| shown == size(128, 72)));
}

#[test]
fn a_source_that_changes_its_size_is_fitted_into_the_rung() {
    let times = steady(60);
    let wide = Clip::new(size(320, 180), &times[..30], &[0], 2, "");
    let narrow = Clip::new(size(160, 120), &times[30..], &[0], 2, "");
    let units = wide.units.iter().map(Input::Unit);
    let input = units.chain([Input::Track(&narrow.track)]).chain(narrow.units.iter().map(Input::Unit));
    let all = transcode(Some((&wide.track, vec![rung("r", 160, 90)])), Vec::new(), &[times[0], times[30]], input);
    let got = &all["r"];
    assert_eq!((got.times(), got.keys()), (times.clone(), vec![times[0], times[30]]));
    assert!(got.pictures().iter().all(|&(_, shown)| shown == size(160, 90)));
}

#[test]
fn a_broken_access_unit_costs_pictures_up_to_the_next_random_access_point_only() {
    let times = steady(60);
    let mut clip = Clip::new(size(160, 90), &times, &[0, 30], 0, "");
    clip.units[10].data = Bytes::from_static(&[0, 0, 0, 200, 1, 2, 3]);
    let (sender, mut output) = mpsc::channel(1_000);
    let rungs = vec![rung("r", 80, 46)];
    let mut transcoder = Transcoder::start(
        Some((&clip.track, rungs)),
        Vec::new(),
        &Config::default(),
        &Cuts::default(),
        &sender,
        Pressure::Wait,
    )
    .unwrap();
    drop(sender);
    clip.units.iter().for_each(|unit| transcoder.feed(unit));
    transcoder.finish();
    let mut all = BTreeMap::new();
    while let Some(output) = output.blocking_recv() {
        sort(&mut all, output);
    }
    let expected: Vec<i64> = times[..10].iter().chain(&times[30..]).copied().collect();
    assert_eq!(all["r"].times(), expected);
}

/// An encoder that gives every picture back at once, or waits to be told to go on.
struct Double {
    codec: Codec,
    gate: Option<Arc<Mutex<Gate>>>,
}

/// Says that a picture has come, and is told to go on.
type Gate = (Sender<()>, Receiver<()>);

impl Encode for Double {
    fn encode(&mut self, picture: Picture, key: bool, coded: &mut Vec<Coded>) -> Result<(), Error> {
        if let Some(gate) = &self.gate {
            // A closed gate stands open.
            let gate = gate.lock().unwrap();
            let _ = gate.0.send(());
            let _ = gate.1.recv();
        }
        let pts = picture.pts().unwrap();
        coded.push(Coded { pts, dts: pts, key, data: Bytes::from_static(b"picture") });
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<Coded>) -> Result<(), Error> {
        Ok(())
    }

    fn codec(&self) -> Result<Codec, TranscodeError> {
        Ok(self.codec.clone())
    }
}

/// Three rungs of doubles; the one that is called so stands behind a gate.
struct Doubles {
    clip: Clip,
    transcoder: Transcoder,
    output: mpsc::Receiver<Output>,
    gate: Sender<()>,
    arrived: Receiver<()>,
    all: BTreeMap<String, Got>,
}

impl Doubles {
    fn new(gated: &'static str) -> Self {
        // Decoded without a delay, so that a unit that goes in is a picture that comes out.
        let times = steady(240);
        let keys: Vec<usize> = (0..240).step_by(30).collect();
        let clip = Clip::new(size(64, 64), &times, &keys, 0, "");
        let (gate, wait) = channel();
        let (arrive, arrived) = channel();
        let wait = Arc::new(Mutex::new((arrive, wait)));
        let codec = clip.track.codec.clone();
        let open: Open = Arc::new(move |rung, _, _| {
            let gate = (rung.id.as_str() == gated).then(|| Arc::clone(&wait));
            Ok(Box::new(Double { codec: codec.clone(), gate }))
        });
        let cuts = Cuts::default();
        for key in keys {
            cuts.push(MediaTime::new(times[key], Timescale::MPEG));
        }
        let rungs = vec![rung("large", 64, 64), rung("middle", 32, 32), rung("small", 16, 16)];
        let (sender, output) = mpsc::channel(64);
        let config = Config { shed_after: Duration::from_secs(3), ..Config::default() };
        let video = Some((&clip.track, rungs));
        let transcoder = Transcoder::launch(video, Vec::new(), &config, &cuts, &sender, Pressure::Live, open).unwrap();
        Self { clip, transcoder, output, gate, arrived, all: BTreeMap::new() }
    }

    /// Feeds so many units, each when those who should have the one before it have it.
    fn feed(&mut self, range: std::ops::Range<usize>, prompt: &[&str]) {
        for n in range {
            self.transcoder.feed(&self.clip.units[n]);
            self.wait(|all| {
                let has = |name: &&str| all.get(*name).and_then(|got| got.units.last());
                let pts = START + i64::try_from(n).unwrap() * FRAME;
                prompt.iter().all(|name| has(name).is_some_and(|unit| unit.pts.ticks() == pts))
            });
        }
    }

    fn wait(&mut self, done: impl Fn(&BTreeMap<String, Got>) -> bool) {
        while !done(&self.all) {
            sort(&mut self.all, self.output.blocking_recv().expect("the transcoder lives"));
        }
    }
}

#[test]
fn a_rung_that_stands_still_is_skipped_and_shed_while_the_others_get_every_picture() {
    for stuck in ["large", "small"] {
        let mut doubles = Doubles::new(stuck);
        let prompt: Vec<&str> = ["large", "middle", "small"].into_iter().filter(|&name| name != stuck).collect();
        doubles.feed(0..1, &prompt);
        doubles.arrived.recv().unwrap();
        doubles.feed(1..200, &prompt);
        assert_eq!(doubles.transcoder.health().units_lost, 0);
        doubles.wait(|all| all.get(stuck).is_some_and(|got| got.shed.is_some()));
        for name in prompt {
            assert_eq!(doubles.all[name].times(), steady(200));
            assert_eq!(doubles.all[name].shed, None);
        }
        assert!(doubles.all[stuck].units.is_empty());
        // About three seconds of 30 pictures.
        let skipped = doubles.transcoder.health().pictures_skipped;
        assert_eq!(skipped, 91);
    }
}

#[test]
fn a_rung_that_was_late_goes_on_at_a_cut_and_says_what_is_missing() {
    let mut doubles = Doubles::new("large");
    doubles.feed(0..1, &["middle", "small"]);
    doubles.arrived.recv().unwrap();
    doubles.feed(1..50, &["middle", "small"]);
    // One picture is in the encoder and 16 wait; the rest was left out.
    for _ in 0..17 {
        doubles.gate.send(()).unwrap();
    }
    doubles.wait(|all| all.get("large").is_some_and(|got| got.units.len() == 17));
    (0..1_000).for_each(|_| doubles.gate.send(()).unwrap());
    doubles.feed(50..60, &["middle", "small"]);
    doubles.feed(60..100, &["large", "middle", "small"]);
    let large = &doubles.all["large"];
    let times = steady(100);
    assert_eq!(large.skipped, [(times[17], times[60], 43)]);
    assert_eq!(large.keys(), [times[0], times[60], times[90]]);
    assert_eq!(large.shed, None);
}

#[test]
fn a_rung_whose_encoder_fails_is_shed_with_the_reason_and_the_others_go_on() {
    let times = steady(60);
    let clip = Clip::new(size(64, 64), &times, &[0], 2, "");
    let (sender, mut output) = mpsc::channel(1_000);
    let rungs = vec![Rung { preset: "hasty".to_owned(), ..rung("bad", 64, 64) }, rung("good", 32, 32)];
    let (config, cuts) = (Config::default(), Cuts::default());
    let video = Some((&clip.track, rungs));
    let mut transcoder = Transcoder::start(video, Vec::new(), &config, &cuts, &sender, Pressure::Wait).unwrap();
    drop(sender);
    clip.units.iter().for_each(|unit| transcoder.feed(unit));
    transcoder.finish();
    let mut all = BTreeMap::new();
    while let Some(output) = output.blocking_recv() {
        sort(&mut all, output);
    }
    assert!(all["bad"].units.is_empty());
    assert!(all["bad"].shed.as_ref().unwrap().contains("libx264"), "{:?}", all["bad"].shed);
    assert_eq!((all["good"].times(), all["good"].shed.as_ref()), (times, None));
}

fn tone(samples: usize, channels: usize) -> Vec<Vec<f32>> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
    let sample = |n: usize| (n as f32 * 0.05).sin() * 0.2;
    (0..channels).map(|_| (0..samples).map(sample).collect()).collect()
}

/// Decodes AAC: where each sample is on the media clock, and the left channel.
fn heard(got: &Got) -> (i64, Vec<f32>) {
    let track = got.track.as_ref().unwrap();
    let mut decoder = Decoder::open(track, track.timescale, 1).unwrap();
    let mut samples = Vec::new();
    for unit in &got.units {
        decoder.send(unit).unwrap();
        while let Some(sound) = decoder.sound().unwrap() {
            samples.extend_from_slice(sound.channel(0));
        }
    }
    (got.units[0].pts.ticks(), samples)
}

fn loudness(samples: &[f32]) -> f32 {
    samples.iter().map(|s| s.abs()).fold(0.0, f32::max)
}

fn to_aac(codec: Codec, rate: u32, units: &[AccessUnit]) -> Got {
    let timescale = Timescale::new(rate).unwrap();
    let track = Track { id: TrackId(2), timescale, codec, language: Some("en".parse().unwrap()), delay: 0 };
    let audio = vec![("audio".parse().unwrap(), track)];
    transcode(None, audio, &[], units.iter().map(Input::Unit)).remove("audio").unwrap()
}

fn check_aac(got: &Got, rate: u32, channels: u16, anchor: i64, samples: usize) {
    assert_eq!(got.shed, None);
    let track = got.track.as_ref().unwrap();
    let Codec::Aac(aac) = &track.codec else { panic!("AAC") };
    assert_eq!((aac.object_type, aac.audio), (2, AudioFormat { sample_rate: rate, channels }));
    assert_eq!((track.timescale.get(), track.delay, track.language.as_ref().unwrap().as_str()), (rate, 1024, "en"));
    for (n, unit) in got.units.iter().enumerate() {
        assert_eq!(unit.pts.ticks(), anchor - 1024 + i64::try_from(n).unwrap() * 1024);
        assert_eq!((unit.dts, unit.duration.unwrap().ticks()), (unit.pts, 1024));
    }
    assert_eq!(got.units.len(), 1 + samples.div_ceil(1024));
}

#[test]
fn dolby_surround_becomes_stereo_aac_sample_for_sample() {
    for (name, rate) in [("ac3", 48_000), ("eac3", 44_100)] {
        let (_, coded) = encode_sound_for_test(name, rate, &tone(1536 * 30, 6));
        let scale = Timescale::new(rate).unwrap();
        let units: Vec<AccessUnit> = coded
            .iter()
            .enumerate()
            .map(|(n, coded)| {
                let at = 480_000 + i64::try_from(n).unwrap() * 1536;
                unit(&Coded { pts: at, dts: at, ..coded.clone() }, scale, TrackId(2))
            })
            .collect();
        let audio = AudioFormat { sample_rate: rate, channels: 6 };
        let codec = if name == "ac3" { Codec::Ac3 { audio } } else { Codec::Eac3 { audio } };
        let got = to_aac(codec, rate, &units);
        check_aac(&got, rate, 2, 480_000, units.len() * 1536);
        assert!(loudness(&heard(&got).1[10_000..]) > 0.1);
    }
}

#[test]
fn holes_in_the_sound_are_filled_with_silence_and_what_overlaps_is_left_out() {
    let (info, coded) = encode_sound_for_test("flac", 48_000, &tone(48_000, 6));
    let scale = Timescale::new(48_000).unwrap();
    // 100 ms are missing before the fifth frame; the eighth comes 50 ms too early.
    let (mut at, mut units) = (96_000, Vec::new());
    let mut length = 0;
    for (n, coded) in coded.iter().enumerate() {
        at += match n {
            5 => 4_800,
            8 => -2_400,
            _ => 0,
        };
        units.push(unit(&Coded { pts: at, dts: at, ..coded.clone() }, scale, TrackId(2)));
        let next = coded_samples(&coded.data, n + 1 == 11);
        at += next;
        length += usize::try_from(next).unwrap();
    }
    let audio = AudioFormat { sample_rate: 48_000, channels: 6 };
    let got = to_aac(Codec::Flac { config: info.into(), audio }, 48_000, &units);
    check_aac(&got, 48_000, 2, 96_000, length + 2_400);
    let (first, samples) = heard(&got);
    let hole = usize::try_from(96_000 - first).unwrap() + 5 * 4_608;
    assert!(loudness(&samples[hole - 3_000..hole - 1_500]) > 0.1);
    assert!(loudness(&samples[hole + 1_500..hole + 3_300]) < 0.01);
    assert!(loudness(&samples[hole + 6_400..hole + 8_000]) > 0.1);
}

/// libavcodec's FLAC frames at 48 kHz have 4608 samples; the last of 48000 has what is left.
fn coded_samples(_: &Bytes, last: bool) -> i64 {
    if last { 48_000 - 10 * 4_608 } else { 4_608 }
}

#[test]
fn mono_stays_mono_and_rates_that_browsers_do_not_love_become_48000() {
    let (_, coded) = encode_sound_for_test("libmp3lame", 32_000, &tone(32_000, 1));
    let scale = Timescale::new(32_000).unwrap();
    let units: Vec<AccessUnit> = coded
        .iter()
        .enumerate()
        .map(|(n, coded)| {
            let at = i64::try_from(n).unwrap() * 1152;
            unit(&Coded { pts: at, dts: at, ..coded.clone() }, scale, TrackId(2))
        })
        .collect();
    let got = to_aac(Codec::Mp3 { audio: AudioFormat { sample_rate: 32_000, channels: 1 } }, 32_000, &units);
    let anchor = got.units[0].pts.ticks() + 1024;
    assert!(anchor.abs() < 960, "{anchor}");
    let track = got.track.as_ref().unwrap();
    assert_eq!(track.codec.audio(), Some(&AudioFormat { sample_rate: 48_000, channels: 1 }));
    let expected = (units.len() * 1152 * 3 / 2).div_ceil(1024) + 1;
    assert!(got.units.len().abs_diff(expected) <= 1, "{} for {expected}", got.units.len());
}

#[test]
fn a_dropped_transcoder_ends_its_threads_and_closes_its_output() {
    let clip = Clip::new(size(64, 64), &steady(30), &[0], 2, "");
    let (sender, mut output) = mpsc::channel(1);
    let rungs = vec![rung("r", 32, 32)];
    let (config, cuts) = (Config::default(), Cuts::default());
    let video = Some((&clip.track, rungs));
    let mut transcoder = Transcoder::start(video, Vec::new(), &config, &cuts, &sender, Pressure::Live).unwrap();
    drop(sender);
    clip.units.iter().for_each(|unit| transcoder.feed(unit));
    drop(transcoder);
    while output.blocking_recv().is_some() {}
}
