//! Micro benches of what is done per segment and per playlist: `cargo bench --bench micro`; arguments are Criterion's.

#![allow(missing_docs, reason = "a program")]

mod rig;

use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use headwater::container::flv::{Demuxer, TagKind};
use headwater::container::{fmp4, ts};
use headwater::manifest::{self, Form, Target};
use headwater::media::{
    Aac, AccessUnit, AudioFormat, Bitrate, Codec, Epoch, Event, FrameRate, MediaSequence, MediaTime, Rendition,
    Rotation, Segment, Size, Targets, Timescale, Track, TrackId, VideoFormat,
};
use headwater::package::{Cut, Packager};
use headwater::protocol::rtmp::{self, Session, Tag};
use headwater::runtime::Clock;
use headwater::window::{self, Offered, Presentation, State, Texts, Window};
use tokio::sync::watch;

use rig::{Guard, Result, Table};

// The binary's own: a megabyte from the system's allocator is 250 page faults, or none, as it pleases.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A segment of two seconds: 60 pictures, 94 frames of sound. 1 MB and 32 kB.
const PICTURES: u32 = 60;
const SOUNDS: u32 = 94;
const PICTURE_BYTES: usize = 15_000;
const KEY_BYTES: usize = 115_000;
const SOUND_BYTES: usize = 340;

/// Segments that a playlist lists, by the default configuration.
const LISTED: u64 = 30;

/// A baseline avcC of 320x240, made by x264.
const AVCC: &[u8] = &[1, 66, 192, 13, 255, 225, 0, 8, 103, 66, 192, 13, 219, 5, 7, 196, 1, 0, 4, 104, 202, 131, 203];

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    package(&mut criterion);
    playlists(&mut criterion)?;
    let seconds = ingest(&mut criterion)?;
    criterion.final_summary();
    let mut table = Table::new("(c) micro benches, one core", &["what", "median", "", "rate"]);
    for (name, what, unit) in [
        ("package-pictures", "CMAF segment of 60 pictures, 1 MB", Unit::Each),
        ("package-sound", "CMAF segment of 94 frames of sound", Unit::Each),
        ("chunk", "one CMAF chunk of 6 pictures, 90 kB", Unit::Each),
        ("ts/made", "MPEG-TS segment from CMAF, 1 MB", Unit::Bytes(PICTURES_BYTES + SOUNDS_BYTES)),
        ("media-playlist", "media playlist of 30 segments, with gzip", Unit::Each),
        ("multivariant-playlist", "multivariant playlist of 5 renditions, with gzip", Unit::Each),
        ("rtmp-flv", "RTMP and FLV of 2.6 Mb/s", Unit::StreamSeconds(seconds)),
    ] {
        let Some(nanoseconds) = median(name)? else { continue };
        let cells = match unit {
            Unit::Each => vec![format!("{:.1}", nanoseconds / 1e3), "us".to_owned()],
            Unit::Bytes(bytes) => {
                let rate = f64::from(u32::try_from(bytes)?) / nanoseconds;
                vec![format!("{:.1}", nanoseconds / 1e3), "us".to_owned(), format!("{rate:.2} GB/s")]
            }
            Unit::StreamSeconds(seconds) => {
                vec![format!("{:.1}", nanoseconds / 1e3 / seconds), "us per stream-second".to_owned()]
            }
        };
        table.row([vec![what.to_owned()], cells].concat());
    }
    table.print();
    Ok(())
}

enum Unit {
    Each,
    /// Each makes so many.
    Bytes(usize),
    /// Each is so long.
    StreamSeconds(f64),
}

const PICTURES_BYTES: usize = KEY_BYTES + (PICTURES as usize - 1) * PICTURE_BYTES;
const SOUNDS_BYTES: usize = SOUNDS as usize * SOUND_BYTES;

/// Criterion's own median, in nanoseconds; `None` for what was not run.
fn median(name: &str) -> Result<Option<f64>> {
    let target = std::env::current_exe()?;
    let target = target.ancestors().nth(3).ok_or("the binary is not where Cargo puts it")?;
    let Ok(text) = fs::read_to_string(target.join(format!("criterion/{name}/new/estimates.json"))) else {
        return Ok(None);
    };
    let estimates: serde_json::Value = serde_json::from_str(&text)?;
    Ok(estimates["median"]["point_estimate"].as_f64())
}

fn pictures() -> Track {
    let size = Size { width: 320, height: 240 };
    let video = VideoFormat { size, sample_aspect: (1, 1), frame_rate: None, color: None, rotation: Rotation::None };
    let codec = Codec::H264 { config: Bytes::from_static(AVCC), video };
    Track { id: TrackId(0), timescale: Timescale::MPEG, codec, language: None, delay: 0 }
}

fn sound() -> Track {
    let audio = AudioFormat { sample_rate: 48_000, channels: 2 };
    let codec = Codec::Aac(Aac { config: Bytes::from_static(&[0x11, 0x90]), object_type: 2, audio });
    let timescale = Timescale::new(48_000).expect("a literal above zero");
    Track { id: TrackId(1), timescale, codec, language: None, delay: 0 }
}

/// The units of one segment and the first of the next, which ends it. Bytes that look like coded ones: no start codes.
fn units(track: &Track, count: u32) -> Vec<AccessUnit> {
    let video = track.codec.video().is_some();
    let unit = |n: u32| {
        let ticks = i64::from(n) * if video { 3_000 } else { 1_024 };
        let key = !video || n.is_multiple_of(PICTURES);
        let length = match (video, key) {
            (true, true) => KEY_BYTES,
            (true, false) => PICTURE_BYTES,
            (false, _) => SOUND_BYTES,
        };
        let mut data = BytesMut::with_capacity(length);
        if video {
            data.extend_from_slice(&u32::try_from(length - 4).unwrap_or_default().to_be_bytes());
            data.extend_from_slice(&[if key { 0x65 } else { 0x41 }]);
        }
        let mut random = n.wrapping_mul(2_654_435_761) | 1;
        while data.len() < length {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            data.extend_from_slice(&[random.to_be_bytes()[0] | 1]);
        }
        let at = MediaTime::new(ticks, track.timescale);
        let (data, received) = (data.freeze(), Clock.now());
        AccessUnit { track: track.id, dts: at, pts: at, duration: None, random_access: key, data, received }
    };
    (0..=count).map(unit).collect()
}

fn cut(sequence: u64, seconds: i64) -> Cut {
    let at = MediaTime::new(seconds * 90_000, Timescale::MPEG);
    Cut { sequence: MediaSequence(sequence), at, discontinuity: false }
}

/// One segment of these units.
fn packaged(packager: &mut Packager, units: &[AccessUnit]) -> Segment {
    packager.cut(cut(0, 0));
    for unit in units {
        packager.push(unit.clone());
    }
    packager.end();
    let packaged = packager.pull().expect("the end closes the segment");
    Segment {
        sequence: packaged.sequence,
        init: packaged.init,
        at: packaged.at,
        start: packaged.start,
        duration: packaged.duration,
        wall: UNIX_EPOCH,
        discontinuity: packaged.discontinuity,
        independent: packaged.independent,
        key_frame: Some(0..packaged.first_sample_end),
        parts: packaged.parts,
        expects_more: false,
    }
}

fn samples(segment: &Segment) -> ts::Stream<'_> {
    let chunks = segment.parts.iter().map(|part| fmp4::read_chunk(&part.data).expect("our own chunk"));
    ts::Stream {
        track: &segment.init.track,
        start: segment.start,
        samples: chunks.flat_map(|chunk| chunk.samples).collect(),
    }
}

fn package(criterion: &mut Criterion) {
    for (name, track, count) in [("package-pictures", pictures(), PICTURES), ("package-sound", sound(), SOUNDS)] {
        let units = units(&track, count - 1);
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || Packager::new(track.clone(), None),
                |packager| packaged(packager, &units),
                BatchSize::SmallInput,
            );
        });
    }
    let units_of_pictures = units(&pictures(), PICTURES - 1);
    let chunk: Vec<fmp4::Sample> = units_of_pictures[1..7]
        .iter()
        .map(|unit| fmp4::Sample { duration: 3_000, composition_offset: 0, sync: false, data: unit.data.clone() })
        .collect();
    criterion.bench_function("chunk", |bencher| bencher.iter(|| fmp4::chunk(1, 0, black_box(&chunk), false)));

    let video = packaged(&mut Packager::new(pictures(), None), &units_of_pictures);
    let audio = packaged(&mut Packager::new(sound(), None), &units(&sound(), SOUNDS - 1));
    let mut group = criterion.benchmark_group("ts");
    group.throughput(Throughput::Bytes((PICTURES_BYTES + SOUNDS_BYTES) as u64));
    // As the origin does it: out of what is kept.
    group.bench_function("made", |bencher| {
        bencher.iter(|| ts::segment(Some(&samples(black_box(&video))), Some(&samples(&audio))).expect("H.264 and AAC"));
    });
    group.finish();
}

fn playlists(criterion: &mut Criterion) -> Result<()> {
    let mut windows = Vec::new();
    let mut renditions = Vec::new();
    for (id, track) in
        [("1080p", pictures()), ("720p", pictures()), ("480p", pictures()), ("360p", pictures()), ("audio", sound())]
    {
        let count = if id == "audio" { SOUNDS } else { PICTURES };
        let first = packaged(&mut Packager::new(track.clone(), None), &units(&track, count - 1));
        let mut window = Window::new(
            &window::Config::default(),
            Epoch(1_795_157_997),
            Targets { segment_secs: 2, part_millis: None },
            0,
        );
        for number in 0..LISTED {
            window.append(Segment { sequence: MediaSequence(number), ..first.clone() });
        }
        let size = track.codec.video().map(|video| video.size);
        let frame_rate = size.map(|_| FrameRate { numerator: 30, denominator: 1 });
        let (peak, mean) = (Bitrate::new(4_400_000), Bitrate::new(4_000_000));
        let rendition = Rendition { id: id.parse()?, track, peak, mean, size, frame_rate };
        renditions.push(Offered { rendition, reader: window.reader(), shed: false });
        windows.push(window);
    }
    let snapshot = renditions[0].reader.now();
    let from_media = |target: Target<'_>| match target {
        Target::Init(number) => format!("e1795157997/1080p/init-{number}.mp4"),
        Target::Segment(sequence) => format!("e1795157997/1080p/{}.m4s", sequence.0),
        Target::Part(sequence, part) => format!("e1795157997/1080p/{}.{part}.m4s", sequence.0),
        Target::Media(id) | Target::IFrames(id) => format!("{id}.m3u8"),
    };
    criterion.bench_function("media-playlist", |bencher| {
        bencher.iter(|| manifest::media(black_box(&snapshot), Form::Cmaf, from_media));
    });
    let presentation = Presentation {
        name: "live/cam1".parse()?,
        epoch: Epoch(1_795_157_997),
        since: UNIX_EPOCH,
        state: State::Live,
        publisher: None,
        renditions,
        texts: Texts::default(),
        mpd: Arc::default(),
    };
    let (_sender, presentation) = watch::channel(Arc::new(presentation));
    let presentation = Arc::clone(&presentation.borrow());
    criterion.bench_function("multivariant-playlist", |bencher| {
        bencher.iter(|| manifest::multivariant(black_box(&presentation), Form::Cmaf, from_media));
    });
    Ok(())
}

/// What a real publisher sends, from its handshake on, read again and again. Returns how many seconds of stream it is.
fn ingest(criterion: &mut Criterion) -> Result<f64> {
    const SECONDS: u32 = 10;
    let folder = rig::folder_in_memory()?;
    let clip = folder.path().join("clip.flv");
    let made = "-v error -nostdin -f lavfi -i testsrc2=s=640x360:r=30,noise=alls=60:allf=t -f lavfi -i sine -t 10 -c:v \
                libx264 -preset ultrafast -b:v 2500k -minrate 2500k -maxrate 2500k -bufsize 2500k -g 60 -pix_fmt yuv420p \
                -c:a aac -b:a 128k";
    rig::run(rig::command("ffmpeg", made).arg(&clip))?;
    let recorded = record(&clip)?;
    let (units, bytes) = replay(&recorded, Clock.now())?;
    if units < SECONDS * 30 || bytes < recorded.len() / 2 {
        return Err(format!("only {units} units of {bytes} bytes came out of {}", recorded.len()).into());
    }
    criterion.bench_function("rtmp-flv", |bencher| {
        bencher.iter(|| replay(black_box(&recorded), Clock.now()).expect("it was read before"));
    });
    Ok(f64::from(SECONDS))
}

/// Everything that `ffmpeg` says while it pushes this.
fn record(clip: &Path) -> Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("rtmp://{}/live/cam1", listener.local_addr()?);
    let mut command = rig::command("ffmpeg", "-v error -nostdin -i");
    command.arg(clip).args(["-c", "copy", "-f", "flv", &url]).stderr(std::process::Stdio::null());
    let _publisher = Guard::spawn(&mut command)?;
    let (mut socket, _) = listener.accept()?;
    let (mut session, mut input, mut all) = (Session::new(), BytesMut::new(), Vec::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = socket.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&buffer[..read]);
        input.extend_from_slice(&buffer[..read]);
        session.push(&mut input)?;
        while let Some(event) = session.pull() {
            if matches!(event, rtmp::Event::Publish(_)) {
                session.accept();
            }
        }
        // It may have left without waiting for the last answer.
        let _ = socket.write_all(&session.take_output());
    }
}

/// Units and their bytes; read as the server reads, at most 64 KiB at once.
fn replay(recorded: &[u8], now: Instant) -> Result<(u32, usize)> {
    let (mut session, mut demuxer, mut input) = (Session::new(), Demuxer::new(), BytesMut::new());
    let (mut units, mut bytes) = (0, 0);
    for read in recorded.chunks(64 << 10) {
        input.extend_from_slice(read);
        session.push(&mut input)?;
        while let Some(event) = session.pull() {
            match event {
                rtmp::Event::Publish(_) => session.accept(),
                rtmp::Event::Tag { tag, timestamp, body } => {
                    let kind = match tag {
                        Tag::Audio => TagKind::Audio,
                        Tag::Video => TagKind::Video,
                        Tag::Script => TagKind::Script,
                    };
                    demuxer.push(kind, timestamp, body, now)?;
                }
                rtmp::Event::BadName { .. } | rtmp::Event::Play | rtmp::Event::Unpublish => {}
            }
            while let Some(event) = demuxer.pull() {
                if let Event::Unit(unit) = event {
                    units += 1;
                    bytes += unit.data.len();
                }
            }
        }
        drop(session.take_output());
    }
    Ok((units, bytes))
}
