//! CPU seconds of our ladder without a server around it, against one `ffmpeg` process with the same rungs: `cargo bench
//! --bench ladder`. Ours and theirs take turns, so that a noisy machine is noisy for both; medians are compared.
//!
//! `HEADWATER_FILM` names another film, `HEADWATER_ROUNDS` says how often (3), `HEADWATER_THREADS` how many threads each
//! encoder has (0: both sides decide by themselves).

#![allow(clippy::print_stdout, reason = "a program that prints its result")]
#![allow(missing_docs, reason = "a program")]

mod rig;

use std::fs::File;
use std::io::BufReader;
use std::process::{Command, Stdio};

use bytes::Bytes;
use headwater::bitstream::{h264, nal};
use headwater::media::{AccessUnit, Bitrate, MediaTime, Size, Timescale, Track, TrackId};
use headwater::runtime::Clock;
use headwater::transcode::{Config, Cuts, Output, Pressure, Rung, Transcoder};

use rig::{RUNGS, Result, Table};

/// Says that this process is the one that is measured.
const CHILD: &str = "HEADWATER_LADDER_CHILD";

fn main() -> Result<()> {
    let film = rig::film()?.display().to_string();
    if std::env::var_os(CHILD).is_some() {
        return ours(&film);
    }
    let rounds = rig::setting("HEADWATER_ROUNDS", 3);
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let ours = cpu_seconds(Command::new(std::env::current_exe()?).env(CHILD, "1"))?;
        let theirs = cpu_seconds(&mut theirs(&film))?;
        rig::say(&format!("ladder: headwater {ours:.2} s, ffmpeg {theirs:.2} s of CPU"));
        our_runs.push(ours);
        their_runs.push(theirs);
    }
    let (ours, theirs) = (rig::median(&our_runs), rig::median(&their_runs));
    let title = format!("(a) the ladder alone: from a file, as fast as it can be, {rounds} rounds");
    let mut table = Table::new(title, &["CPU seconds, median", "headwater", "ffmpeg", "ratio"]);
    table.row(vec![
        "decode, scale, encode".to_owned(),
        format!("{ours:.2}"),
        format!("{theirs:.2}"),
        format!("{:.3}", ours / theirs),
    ]);
    table.print();
    Ok(())
}

/// User and system time of a process with all its threads, from beginning to end.
fn cpu_seconds(command: &mut Command) -> Result<f64> {
    rig::Guard::spawn(command.stdout(Stdio::null()))?.cpu_until_end()
}

fn theirs(film: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i", film]);
    command.args(["-filter_complex", &rig::split_graph()]);
    for n in 0..RUNGS.len() {
        command.args(["-map", &format!("[out{n}]")]).args(rig::encoder(n, ":v", rig::setting("HEADWATER_THREADS", 0)));
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
    let config = Config { threads: rig::setting("HEADWATER_THREADS", 0), ..Config::default() };
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
