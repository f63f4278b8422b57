//! CPU seconds of the whole server against one `ffmpeg` process: the film is pushed over RTMP at its own pace and becomes
//! 1080/720/480/360p. `cargo bench --bench server`; `docs/benchmarks.md` says what is measured.
//!
//! `HEADWATER_ROUNDS` (3), `HEADWATER_PACE` (1.0; less for a machine that cannot keep up: both are fed more slowly),
//! `HEADWATER_THREADS` (0: both sides decide by themselves; else of each encoder, on both sides).

#![allow(missing_docs, reason = "a program")]

mod rig;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rig::{Guard, RUNGS, Result, Server, Table};

/// Seconds of a segment, on both sides.
const SEGMENT: u32 = 2;

struct Settings {
    pace: f64,
    threads: usize,
}

/// What a round made.
struct Round {
    /// Seconds, from the start of the process to its exit.
    cpu: f64,
    /// Of each rung.
    made: Vec<Made>,
}

/// What a playlist lists.
#[derive(Debug)]
struct Made {
    segments: usize,
    seconds: f64,
}

impl Made {
    fn of(playlist: &str) -> Self {
        let lengths: Vec<f64> = playlist
            .lines()
            .filter_map(|line| line.strip_prefix("#EXTINF:")?.trim_end_matches(',').parse().ok())
            .collect();
        Self { segments: lengths.len(), seconds: lengths.iter().sum() }
    }
}

fn main() -> Result<()> {
    let settings =
        Settings { pace: rig::setting("HEADWATER_PACE", 1.0), threads: rig::setting("HEADWATER_THREADS", 0) };
    let rounds: usize = rig::setting("HEADWATER_ROUNDS", 3);
    let folder = rig::folder_in_memory()?;
    let film = folder.path().join("film.flv");
    rig::run(rig::command("ffmpeg", "-v error -nostdin -i").arg(rig::film()?).args(["-c", "copy"]).arg(&film))?;
    let seconds: f64 =
        rig::run(rig::command("ffprobe", "-v error -show_entries format=duration -of csv=p=0").arg(&film))?
            .trim()
            .parse()?;

    let (mut our_runs, mut their_runs, mut void) = (Vec::new(), Vec::new(), 0);
    while our_runs.len() < rounds {
        let ours = match ours(folder.path(), &film, &settings) {
            Ok(ours) => ours,
            Err(error) => {
                void += 1;
                rig::say(&format!("server: void, {error}"));
                if void > rounds {
                    return Err("too many rounds were void: is the machine busy? HEADWATER_PACE=0.5 helps".into());
                }
                continue;
            }
        };
        let theirs = theirs(folder.path(), &film, &settings)?;
        // Whoever makes less has less to do. ffmpeg may end with a segment of what is left over.
        for (ours, theirs) in ours.made.iter().zip(&theirs.made) {
            if (ours.seconds - theirs.seconds).abs() > 0.2 || ours.segments.abs_diff(theirs.segments) > 1 {
                return Err(format!("not the same was made: ours {ours:?}, theirs {theirs:?}").into());
            }
        }
        rig::say(&format!(
            "server: headwater {:.2} s, ffmpeg {:.2} s of CPU; {:?}, {:?}",
            ours.cpu, theirs.cpu, ours.made[0], theirs.made[0]
        ));
        our_runs.push(ours.cpu);
        their_runs.push(theirs.cpu);
    }
    let (ours, theirs) = (rig::median(&our_runs), rig::median(&their_runs));
    let title = format!(
        "(a) whole server: RTMP in, 1080/720/480/360p x264 veryfast, {seconds:.0} s of film at pace {}, {rounds} rounds, \
         {void} void",
        settings.pace
    );
    let mut table = Table::new(title, &["CPU seconds, median", "headwater", "ffmpeg", "ratio", "aim"]);
    let per_second = |cpu: f64| format!("{:.3}", cpu / seconds);
    table.row(vec![
        "from start to exit".to_owned(),
        format!("{ours:.2}"),
        format!("{theirs:.2}"),
        format!("{:.3}", ours / theirs),
        "<= 1.05".to_owned(),
    ]);
    table.row(vec!["per second of film".to_owned(), per_second(ours), per_second(theirs)]);
    table.print();
    Ok(())
}

/// The film as a publisher sends it.
fn push(film: &Path, url: &str, settings: &Settings) -> Result<Guard> {
    let mut command = rig::command("ffmpeg", "-v error -nostdin -readrate");
    command.arg(settings.pace.to_string()).arg("-i").arg(film).args(["-c", "copy", "-f", "flv", url]);
    // What it has to say at the end is that the other side closed the connection.
    Guard::spawn(command.stderr(Stdio::null()))
}

fn ours(folder: &Path, film: &Path, settings: &Settings) -> Result<Round> {
    let rungs = RUNGS.map(|(_, height, bits)| format!("{{ height = {height}, bitrate = {bits} }}"));
    let config = format!(
        "[transcode]\nladder = [{}]\npreset = \"veryfast\"\nthreads = {}\n[segment]\ntarget = \"{SEGMENT}s\"\n\
         [stream]\nlinger = \"2s\"\n[server]\ngrace = \"1ms\"\n[window]\nlength = \"10m\"\n",
        rungs.join(", "),
        settings.threads,
    );
    let server = Server::start(folder, &config, None)?;
    let publisher = push(film, &format!("{}/film", server.rtmp), settings)?;
    // CPU that is spent on these looks is the server's: some hundredths of a second.
    rig::wait("the film's end", || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        // A stream that has just come holds its playlist back, one that has not is a 404.
        Ok(server.get("/film/_/360p.m3u8")?.filter(|text| text.ends_with("#EXT-X-ENDLIST\n")))
    })?;
    let mut made = Vec::new();
    for (_, height, _) in RUNGS {
        let text = server
            .get(&format!("/film/_/{height}p.m3u8"))?
            .ok_or_else(|| format!("{height}p has no playlist:\n{}", server.warnings()))?;
        if !text.ends_with("#EXT-X-ENDLIST\n") || text.contains("DISCONTINUITY") || text.contains("GAP") {
            return Err(format!("the playlist of {height}p is not whole:\n{}", server.warnings()).into());
        }
        made.push(Made::of(&text));
    }
    let metrics = server.get("/metrics")?.ok_or("no metrics")?;
    for name in ["rungs_shed", "pictures_skipped", "decode_errors", "sound_lost", "discontinuities"] {
        let count = metrics.lines().find_map(|line| line.strip_prefix(&format!("headwater_{name}_total ")));
        // One discontinuity is the run's end.
        if count.is_none_or(|count| count != "0" && !(name == "discontinuities" && count == "1")) {
            return Err(format!("{name} is {count:?}:\n{}", server.warnings()).into());
        }
    }
    drop(publisher);
    rig::run(Command::new("kill").args(["-TERM", &server.process.pid().to_string()]))?;
    Ok(Round { cpu: server.process.cpu_until_end()?, made })
}

fn theirs(folder: &Path, film: &Path, settings: &Settings) -> Result<Round> {
    let output = folder.join("ffmpeg");
    fs::create_dir(&output)?;
    let port = rig::free_port()?;
    let url = format!("rtmp://127.0.0.1:{port}/live/film");
    let mut command = rig::command("ffmpeg", "-v error -nostdin -y -listen 1 -f flv -i");
    command.args([&url, "-filter_complex", &rig::split_graph()]);
    let mut streams = Vec::new();
    for n in 0..RUNGS.len() {
        command.args(["-map", &format!("[out{n}]")]).args(rig::encoder(n, &format!(":v:{n}"), settings.threads));
        streams.push(format!("v:{n},agroup:sound"));
    }
    command.args([
        "-map",
        "0:a",
        "-c:a",
        "copy",
        "-var_stream_map",
        &format!("{} a:0,agroup:sound", streams.join(" ")),
    ]);
    command.args(["-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", &SEGMENT.to_string(), "-hls_list_size", "0"]);
    command.args(["-hls_fmp4_init_filename", "init-%v.mp4", "-master_pl_name", "index.m3u8", "-hls_segment_filename"]);
    command
        .arg(output.join("%v-%d.m4s"))
        .arg(output.join("%v.m3u8"))
        .stderr(fs::File::create(folder.join("ffmpeg.log"))?);
    let ffmpeg = Guard::spawn(&mut command)?;
    // A connection to see whether it listens would be taken for the publisher.
    let listening = format!(":{port:04X} 00000000:0000 0A");
    rig::wait("ffmpeg to listen", || Ok(fs::read_to_string("/proc/net/tcp")?.contains(&listening).then_some(())))?;
    let _publisher = push(film, &url, settings)?;
    let cpu = ffmpeg.cpu_until_end().map_err(|error| {
        format!("ffmpeg: {error}: {}", fs::read_to_string(folder.join("ffmpeg.log")).unwrap_or_default())
    })?;
    let mut made = Vec::new();
    for n in 0..RUNGS.len() {
        made.push(Made::of(&fs::read_to_string(output.join(format!("{n}.m3u8")))?));
    }
    fs::remove_dir_all(&output)?;
    Ok(Round { cpu, made })
}
