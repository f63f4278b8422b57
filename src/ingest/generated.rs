//! A source without a camera: colour bars, a running clock and a beep every second. For a first look and for tests of
//! what is behind.
//!
//! Drawn here rather than by libavfilter, whose text needs a font that a small system does not have.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Door, Publish, Sink};
use crate::bitstream::{self, BitstreamError, h264};
use crate::libav::{self, AudioEncoder, Coded, Colors, Picture, VideoEncoder, VideoSettings};
use crate::media::{
    AccessUnit, Bitrate, Event, FrameRate, MediaDuration, MediaTime, Size, StreamName, Timescale, Track, TrackId,
};
use crate::runtime::{Clock, Tasks};

const SIZE: Size = Size { width: 1280, height: 720 };
const FRAME_RATE: u32 = 30;
/// Two seconds.
const KEY_EVERY: u64 = 60;
const SAMPLE_RATE: u32 = 48_000;
const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);
/// Sound begins a frame of priming before the picture: time starts late enough for nothing to be negative.
const START_SECS: i64 = 1;

#[derive(Debug, thiserror::Error)]
enum GeneratedError {
    #[error(transparent)]
    Libav(#[from] libav::Error),
    #[error("an encoder's parameters: {0}")]
    Parameters(#[from] BitstreamError),
}

/// Publishes under `name`, in real time, until the stream lets go of it or `tasks` ends.
pub fn start(name: StreamName, door: Door, tasks: &Tasks, clock: Clock) {
    tasks.spawn("generated", async move {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (publish, verdict) = Publish::new(name.clone(), peer, "generated", None);
        if door.send(publish).await.is_err() {
            return;
        }
        let events = match verdict.wait().await {
            Ok(events) => events,
            Err(why) => return tracing::warn!(stream = %name, %why, "the generated source was turned away"),
        };
        let (done, ended) = oneshot::channel();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new().name("generated".to_owned()).spawn(move || {
            if let Err(error) = run(&runtime, &events, &done, clock) {
                tracing::error!(%error, "the generated source ended");
            }
        });
        match thread {
            // The thread drops its end when it is done, and ends when this one is dropped.
            Ok(_) => drop(ended.await),
            Err(error) => tracing::error!(%error, "the generated source has no thread"),
        }
    });
}

fn run(runtime: &Handle, events: &Sink, done: &oneshot::Sender<()>, clock: Clock) -> Result<(), GeneratedError> {
    let mut studio = Studio::new()?;
    if runtime.block_on(events.send(Event::Tracks(studio.tracks()?.into()))).is_err() {
        return Ok(());
    }
    let mut began = clock.now();
    for n in 0.. {
        let due = Duration::from_nanos(n * 1_000_000_000 / u64::from(FRAME_RATE));
        match (began + due).checked_duration_since(clock.now()) {
            Some(early) => std::thread::sleep(early),
            // After a pause of the whole machine it goes on at its pace rather than in a hurry.
            None if clock.now() > began + due + Duration::from_secs(1) => began = clock.now() - due,
            None => {}
        }
        let mut units = Vec::new();
        studio.shoot(n, clock.wall(), &mut units)?;
        let received = clock.now();
        for (track, scale, coded) in units {
            let unit = unit(track, scale, coded, received);
            if done.is_closed() || runtime.block_on(events.send(Event::Unit(unit))).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn unit(track: TrackId, scale: Timescale, coded: Coded, received: std::time::Instant) -> AccessUnit {
    let length = if track == VIDEO { scale.get() / FRAME_RATE } else { 1024 };
    AccessUnit {
        track,
        dts: MediaTime::new(coded.dts, scale),
        pts: MediaTime::new(coded.pts, scale),
        duration: Some(MediaDuration::new(length.into(), scale)),
        random_access: coded.key || track == AUDIO,
        data: coded.data,
        received,
    }
}

/// The picture that all pictures begin with, and the encoders.
struct Studio {
    bars: Picture,
    video: VideoEncoder,
    audio: AudioEncoder,
    audio_scale: Timescale,
    /// Samples of sound so far.
    samples: u64,
}

impl Studio {
    fn new() -> Result<Self, libav::Error> {
        let settings = VideoSettings {
            size: SIZE,
            scale: Timescale::MPEG,
            frame_rate: FrameRate { numerator: FRAME_RATE, denominator: 1 },
            bitrate: Bitrate::new(2_500_000),
            preset: "superfast".to_owned(),
            tune: Some("zerolatency"),
            threads: 1,
            b_frames: 0,
            more: "",
        };
        let bars = bars();
        let video = VideoEncoder::open(&settings, Colors::of(&bars))?;
        let audio = AudioEncoder::open(SAMPLE_RATE, 2, Bitrate::new(128_000))?;
        let audio_scale = Timescale::new(SAMPLE_RATE).unwrap_or(Timescale::MPEG);
        Ok(Self { bars, video, audio, audio_scale, samples: 0 })
    }

    fn tracks(&self) -> Result<Vec<Track>, GeneratedError> {
        let codec = h264::codec(h264::config_from_annexb(&self.video.parameter_sets()?)?)?;
        let video = Track { id: VIDEO, timescale: Timescale::MPEG, codec, language: None, delay: 0 };
        let codec = bitstream::aac::codec(self.audio.config().into())?;
        let audio = Track { id: AUDIO, timescale: self.audio_scale, codec, language: None, delay: 1024 };
        Ok(vec![video, audio])
    }

    /// The `n`-th picture and the sound up to its end.
    fn shoot(
        &mut self,
        n: u64,
        wall: SystemTime,
        units: &mut Vec<(TrackId, Timescale, Coded)>,
    ) -> Result<(), libav::Error> {
        let mut picture = draw(&self.bars, n, wall);
        let at = i64::try_from(n).unwrap_or(i64::MAX / 90_000);
        picture.set_pts(START_SECS * 90_000 + at * i64::from(90_000 / FRAME_RATE));
        self.video.send(&mut picture, n.is_multiple_of(KEY_EVERY))?;
        while let Some(coded) = self.video.receive()? {
            units.push((VIDEO, Timescale::MPEG, coded));
        }
        let until = (n + 1) * u64::from(SAMPLE_RATE / FRAME_RATE);
        while self.samples < until {
            let sound: Vec<f32> = (self.samples..self.samples + 1024).map(beep).collect();
            let at = START_SECS * i64::from(SAMPLE_RATE) + i64::try_from(self.samples).unwrap_or_default();
            self.audio.send(at, &[&sound, &sound])?;
            self.samples += 1024;
            while let Some(coded) = self.audio.receive()? {
                units.push((AUDIO, self.audio_scale, coded));
            }
        }
        Ok(())
    }
}

/// 440 Hz for a tenth of a second as each second begins.
#[expect(clippy::cast_precision_loss, reason = "less than a second of samples")]
fn beep(sample: u64) -> f32 {
    let within = sample % u64::from(SAMPLE_RATE);
    if within >= u64::from(SAMPLE_RATE / 10) {
        return 0.0;
    }
    (within as f32 * 440.0 * std::f32::consts::TAU / SAMPLE_RATE as f32).sin() * 0.25
}

/// Luma and the two chromas of a bar.
type Shade = [u8; 3];
const BARS: [Shade; 7] =
    [[180, 128, 128], [162, 44, 142], [131, 156, 44], [112, 72, 58], [84, 184, 198], [65, 100, 212], [35, 212, 114]];
const WHITE: Shade = [235, 128, 128];
const BLACK: Shade = [16, 128, 128];

fn bars() -> Picture {
    let mut picture = Picture::blank(SIZE);
    let width = SIZE.width as usize / BARS.len() + 1;
    for (n, shade) in BARS.into_iter().enumerate() {
        fill(&mut picture, n * width, 0, width, SIZE.height as usize, shade);
    }
    picture
}

/// Fills a rectangle, cut off at the picture's edges.
fn fill(picture: &mut Picture, x: usize, y: usize, width: usize, height: usize, shade: Shade) {
    let size = picture.size();
    let right = (x + width).min(size.width as usize);
    let bottom = (y + height).min(size.height as usize);
    for (plane, value) in shade.into_iter().enumerate() {
        // Two columns and rows of luma share their chroma.
        let half = usize::from(plane > 0);
        let (rows, stride) = picture.plane_mut(plane);
        for row in y >> half..bottom >> half {
            if let Some(line) = rows.get_mut(row * stride + (x >> half)..row * stride + (right >> half)) {
                line.fill(value);
            }
        }
    }
}

fn draw(bars: &Picture, n: u64, wall: SystemTime) -> Picture {
    let mut picture = Picture::blank(SIZE);
    for plane in 0..3 {
        let (from, _) = bars.plane(plane);
        let (to, _) = picture.plane_mut(plane);
        let length = from.len().min(to.len());
        to[..length].copy_from_slice(&from[..length]);
    }
    let n_small = usize::try_from(n % 100_000).unwrap_or_default();
    // A ball that bounces, and a line that sweeps once in four seconds.
    let bounce = |step: usize, room: usize| {
        let at = step % (2 * room);
        if at < room { at } else { 2 * room - at }
    };
    let (x, y) = (bounce(n_small * 8, SIZE.width as usize - 96), bounce(n_small * 5, SIZE.height as usize - 96));
    fill(&mut picture, x, y, 96, 96, WHITE);
    fill(&mut picture, x + 16, y + 16, 64, 64, BLACK);
    fill(&mut picture, n_small % 120 * SIZE.width as usize / 120, 0, 4, SIZE.height as usize, WHITE);
    snow(&mut picture, n);
    let clock = clock_text(wall);
    let left = (SIZE.width as usize - clock.len() * 64) / 2;
    fill(&mut picture, left - 32, 280, clock.len() * 64 + 48, 160, BLACK);
    for (at, character) in clock.bytes().enumerate() {
        digit(&mut picture, left + at * 64, 304, character);
    }
    picture
}

/// Noise at the bottom, without which the encoder would find nothing to spend its bits on.
fn snow(picture: &mut Picture, seed: u64) {
    let (luma, stride) = picture.plane_mut(0);
    let from = (SIZE.height as usize - SNOW_ROWS) * stride;
    // Marsaglia's xorshift; never zero.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for samples in luma.get_mut(from..).unwrap_or_default().chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (sample, noise) in samples.iter_mut().zip(state.to_le_bytes()) {
            *sample = 64 + noise / 2;
        }
    }
}

const SNOW_ROWS: usize = 32;

/// `HH:MM:SS.mmm` in UTC.
fn clock_text(wall: SystemTime) -> String {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, since.subsec_millis())
}

/// A digit of seven segments, 48 by 112, or a dot or two in its place.
fn digit(picture: &mut Picture, x: usize, y: usize, character: u8) {
    /// Column, row, width and height of the segments a to g.
    const SEGMENTS: [(usize, usize, usize, usize); 7] = [
        (0, 0, 48, 12),
        (36, 0, 12, 56),
        (36, 56, 12, 56),
        (0, 100, 48, 12),
        (0, 56, 12, 56),
        (0, 0, 12, 56),
        (0, 50, 48, 12),
    ];
    const LIT: [u8; 10] = [0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F];
    match character {
        b':' => {
            fill(picture, x + 16, y + 28, 16, 16, WHITE);
            fill(picture, x + 16, y + 68, 16, 16, WHITE);
        }
        b'.' => fill(picture, x + 16, y + 96, 16, 16, WHITE),
        _ => {
            let lit = LIT.get(usize::from(character.wrapping_sub(b'0'))).copied().unwrap_or_default();
            for (n, (column, row, width, height)) in SEGMENTS.into_iter().enumerate() {
                if lit >> n & 1 == 1 {
                    fill(picture, x + column, y + row, width, height, WHITE);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::media::Codec;

    #[test]
    fn two_seconds_have_one_random_access_point_and_sound_without_holes() {
        let mut studio = Studio::new().unwrap();
        let tracks = studio.tracks().unwrap();
        let Codec::H264 { video, .. } = &tracks[0].codec else { panic!("H.264") };
        assert_eq!((video.size, tracks[1].codec.samples_per_unit()), (SIZE, Some(1024)));
        assert_eq!(video.frame_rate, Some(FrameRate { numerator: 30, denominator: 1 }));
        let mut units = Vec::new();
        for n in 0..62 {
            studio.shoot(n, SystemTime::UNIX_EPOCH, &mut units).unwrap();
        }
        let of = |id: TrackId| units.iter().filter(move |(track, _, _)| *track == id).map(|(_, _, coded)| coded);
        let keys: Vec<usize> = of(VIDEO).enumerate().filter(|(_, coded)| coded.key).map(|(n, _)| n).collect();
        assert_eq!((of(VIDEO).count(), keys), (62, vec![0, 60]));
        assert!(of(VIDEO).all(|coded| coded.dts == coded.pts));
        let sound: Vec<i64> = of(AUDIO).map(|coded| coded.pts).collect();
        assert_eq!(sound[0], 48_000 - 1024);
        assert!(sound.windows(2).all(|pair| pair[1] - pair[0] == 1024));
        assert!(sound.last().unwrap() + 4 * 1024 >= 48_000 + 62 * 1_600);
    }

    #[test]
    fn the_clock_is_burnt_in() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(86_400_000 + 45_296_789);
        assert_eq!(clock_text(wall), "12:34:56.789");
        let (bars, lit) = (bars(), draw(&bars(), 0, wall));
        let row = |picture: &Picture| picture.plane(0).0[picture.plane(0).1 * 310..][..1280].to_vec();
        assert_ne!(row(&bars), row(&lit));
        assert!(row(&lit).iter().filter(|&&luma| luma == 235).count() > 200);
    }

    #[tokio::test]
    async fn it_comes_through_the_door_like_any_publisher_and_leaves_when_it_is_let_go() {
        let (door, mut publishers) = mpsc::channel(1);
        let tasks = Tasks::new();
        start("demo".parse().unwrap(), door, &tasks, Clock);
        let publish = publishers.recv().await.unwrap();
        assert_eq!((publish.name.as_str(), publish.protocol), ("demo", "generated"));
        let mut source = publish.accept().unwrap();
        assert!(matches!(source.next().await, Some(Event::Tracks(tracks)) if tracks.len() == 2));
        let Some(Event::Unit(first)) = source.next().await else { panic!("a picture") };
        assert!(first.track == VIDEO && first.random_access);
        drop(source);
        tasks.join().await;
    }
}
