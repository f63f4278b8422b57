//! Requests per second and CPU per request of the origin against nginx: the same bytes, one core each for server and load,
//! in turns. `cargo bench --bench origin`; `docs/benchmarks.md` says what is measured.
//!
//! `HEADWATER_ROUNDS` (5), `HEADWATER_SECONDS` of each run (3).

#![allow(missing_docs, reason = "a program")]

mod rig;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use rig::{Guard, Result, Server, Table};

/// What is asked for.
struct Object {
    name: &'static str,
    /// At headwater.
    path: String,
    /// At nginx: a copy of the very bytes.
    file: String,
    bytes: usize,
}

#[derive(Clone, Copy)]
enum Load {
    /// wrk, over HTTP/1.1 with keep-alive.
    Http1,
    /// h2load, over HTTP/2 without TLS, ten requests at once on each connection.
    Http2,
}

/// A server under load, and the process whose CPU counts.
struct Target {
    name: &'static str,
    pid: u32,
}

#[derive(Default)]
struct Runs {
    /// Of CPU, per request.
    microseconds: Vec<f64>,
    per_second: Vec<f64>,
}

fn main() -> Result<()> {
    let (rounds, seconds) = (rig::setting("HEADWATER_ROUNDS", 5), rig::setting("HEADWATER_SECONDS", 3));
    let folder = rig::folder_in_memory()?;
    let cores = rig::cores()?;
    let (server_core, load_core) = match cores.as_slice() {
        [server, load, ..] => (Some(*server), Some(*load)),
        _ => (None, None),
    };
    if load_core.is_none() {
        rig::say(
            "origin: one core only, which server and load share: CPU per request still holds, requests per second do not",
        );
    }
    let config = "[transcode]\nladder = [\"source\"]\n[stream]\nlinger = \"1h\"\n[server]\ngrace = \"1ms\"\n";
    let server = Server::start(folder.path(), config, server_core)?;
    let root = folder.path().join("root");
    fs::create_dir(&root)?;
    let objects = objects(&server, folder.path(), &root)?;
    let (ports, _nginx, worker) = nginx(folder.path(), &root, server_core)?;
    let ours = Target { name: "headwater", pid: server.process.pid() };
    let theirs = Target { name: "nginx", pid: worker };

    let title = format!(
        "(b) origin: server and load on a core each, {rounds} rounds of {seconds} s in turns; CPU in microseconds per request"
    );
    let head = ["medians", "headwater", "nginx", "ratio", "headwater req/s", "nginx req/s", "ratio"];
    let mut table = Table::new(title, &head);
    for (load, object, connections) in cases(&objects) {
        let port = if matches!(load, Load::Http1) { ports.0 } else { ports.1 };
        let url = format!("http://127.0.0.1:{port}/{}", object.file);
        let measured = [(&ours, server.url(&object.path)), (&theirs, url)];
        let mut runs = [Runs::default(), Runs::default()];
        for round in 0..rounds {
            // Who was first is second the next time.
            for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let (target, url) = &measured[side];
                let (microseconds, per_second) = one(target, url, load, connections, seconds, load_core)?;
                runs[side].microseconds.push(microseconds);
                runs[side].per_second.push(per_second);
            }
        }
        let [ours, theirs] = runs.map(|runs| (rig::median(&runs.microseconds), rig::median(&runs.per_second)));
        let protocol = if matches!(load, Load::Http1) { "h1 " } else { "h2c" };
        table.row(vec![
            format!("{protocol} {}, {} kB, {connections} connections", object.name, object.bytes.div_ceil(1_000)),
            format!("{:.1}", ours.0),
            format!("{:.1}", theirs.0),
            format!("{:.2}", ours.0 / theirs.0),
            format!("{:.0}", ours.1),
            format!("{:.0}", theirs.1),
            format!("{:.2}", ours.1 / theirs.1),
        ]);
    }
    table.print();
    Ok(())
}

/// Load, object, connections.
fn cases(objects: &[Object; 3]) -> Vec<(Load, &Object, u32)> {
    let [playlist, small, large] = objects;
    vec![
        (Load::Http1, playlist, 50),
        (Load::Http1, playlist, 200),
        (Load::Http1, small, 50),
        (Load::Http1, small, 200),
        (Load::Http1, large, 50),
        (Load::Http1, large, 200),
        (Load::Http2, playlist, 50),
        (Load::Http2, small, 50),
        (Load::Http2, large, 50),
    ]
}

/// Streams are published, and what they became is copied to where nginx has it.
fn objects(server: &Server, folder: &Path, root: &Path) -> Result<[Object; 3]> {
    let mut objects = Vec::new();
    // Segments of two seconds: 250 kB and 1 MB.
    for (name, kilobits) in [("small", 1_000), ("large", 4_000)] {
        let clip = folder.join(format!("{name}.flv"));
        let rate = format!("{kilobits}k");
        let made = "-v error -nostdin -f lavfi -i testsrc2=s=640x360:r=30,noise=alls=60:allf=t -t 64 -c:v libx264 \
                    -preset ultrafast -g 60 -keyint_min 60 -sc_threshold 0 -pix_fmt yuv420p";
        rig::run(
            rig::command("ffmpeg", made)
                .args(["-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate])
                .arg(&clip),
        )?;
        rig::run(rig::command("ffmpeg", "-v error -nostdin -i").arg(&clip).args([
            "-c",
            "copy",
            "-f",
            "flv",
            &format!("{}/{name}", server.rtmp),
        ]))?;
        let path = format!("/{name}/_/source.m3u8");
        let text =
            rig::wait("a full window", || Ok(server.get(&path)?.filter(|text| text.matches("#EXTINF").count() >= 30)))?;
        let wanted = kilobits * 250;
        let mut nearest: Option<Object> = None;
        for uri in text.lines().filter(|line| !line.starts_with('#')) {
            let path = format!("/{name}/_/{uri}");
            let body = rig::get(&server.url(&path))?.ok_or("a listed segment is not there")?;
            if nearest.as_ref().is_none_or(|best| body.len().abs_diff(wanted) < best.bytes.abs_diff(wanted)) {
                let file = format!("{name}.m4s");
                fs::write(root.join(&file), &body)?;
                nearest = Some(Object { name: "segment", path, file, bytes: body.len() });
            }
        }
        if name == "small" {
            let file = "playlist.m3u8".to_owned();
            fs::write(root.join(&file), &text)?;
            objects.push(Object { name: "playlist", path, file, bytes: text.len() });
        }
        objects.push(nearest.ok_or("no segment")?);
    }
    objects.try_into().map_err(|_| "three objects".into())
}

/// One worker; its ports for HTTP/1.1 and HTTP/2, and its process.
fn nginx(folder: &Path, root: &Path, core: Option<usize>) -> Result<((u16, u16), Guard, u32)> {
    let ports = (rig::free_port()?, rig::free_port()?);
    let path = folder.join("nginx.conf");
    fs::write(
        &path,
        format!(
            "worker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
             \x20 keepalive_timeout 300;\n  keepalive_requests 1000000000;\n\
             \x20 open_file_cache max=1000 inactive=1h;\n  open_file_cache_valid 1h;\n\
             \x20 types {{ application/vnd.apple.mpegurl m3u8; video/iso.segment m4s; }}\n\
             \x20 server {{ listen 127.0.0.1:{}; root {root}; }}\n\
             \x20 server {{ listen 127.0.0.1:{} http2; root {root}; http2_max_concurrent_streams 256; }}\n}}\n",
            ports.0,
            ports.1,
            folder = folder.display(),
            root = root.display(),
        ),
    )?;
    let mut command = rig::pinned("nginx", core);
    let log = folder.join("nginx.log");
    command.arg("-p").arg(folder).arg("-e").arg(&log).arg("-c").arg(&path).stderr(Stdio::null());
    let master = Guard::spawn(&mut command)?;
    let children = format!("/proc/{0}/task/{0}/children", master.pid());
    let worker = rig::wait("nginx", || {
        Ok(fs::read_to_string(&children)?.split_whitespace().next().and_then(|pid| pid.parse().ok()))
    })
    .map_err(|error| format!("{error}: {}", fs::read_to_string(&log).unwrap_or_default()))?;
    Ok((ports, master, worker))
}

/// Microseconds of CPU per request, and requests per second.
fn one(
    target: &Target,
    url: &str,
    load: Load,
    connections: u32,
    seconds: u32,
    core: Option<usize>,
) -> Result<(f64, f64)> {
    let mut command = match load {
        Load::Http1 => rig::pinned("wrk", core),
        Load::Http2 => rig::pinned("h2load", core),
    };
    match load {
        Load::Http1 => command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), url]),
        Load::Http2 => {
            command.args(["-t1", &format!("-c{connections}"), "-m10", "-w20", "-W24", &format!("-D{seconds}"), url])
        }
    };
    let before = rig::cpu_of(target.pid)?;
    let text = rig::run(&mut command)?;
    let cpu = rig::cpu_of(target.pid)? - before;
    let (requests, per_second) = match load {
        Load::Http1 => wrk(&text)?,
        Load::Http2 => h2load(&text)?,
    };
    let microseconds = cpu * 1e6 / requests;
    rig::say(&format!("origin: {:<9} {microseconds:8.1} us {per_second:8.0} req/s  {url} x{connections}", target.name));
    Ok((microseconds, per_second))
}

/// Requests, and requests per second; an answer that is not a 200 makes the run worthless.
fn wrk(text: &str) -> Result<(f64, f64)> {
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(line.trim().into());
    }
    let number = |what: &str, word: usize| -> Result<f64> {
        let line = text.lines().find(|line| line.contains(what)).ok_or_else(|| format!("wrk said: {text}"))?;
        Ok(line.split_whitespace().nth(word).ok_or("a number is missing")?.parse()?)
    };
    Ok((number("requests in", 0)?, number("Requests/sec", 1)?))
}

fn h2load(text: &str) -> Result<(f64, f64)> {
    // requests: 1234 total, 1234 started, 1234 done, 1234 succeeded, 0 failed, 0 errored, 0 timeout
    let line = text.lines().find(|line| line.starts_with("requests:")).ok_or_else(|| format!("h2load said: {text}"))?;
    let count = |what: &str| -> Result<f64> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.trim_end_matches(',') == what).ok_or("a count is missing")?;
        Ok(words[at - 1].parse()?)
    };
    if count("failed")? > 0.0 || count("succeeded")? == 0.0 {
        return Err(line.into());
    }
    let finished = text.lines().find(|line| line.starts_with("finished in")).ok_or("h2load did not finish")?;
    let rate = finished.split_whitespace().find_map(|word| word.parse().ok()).ok_or("no rate")?;
    Ok((count("succeeded")?, rate))
}
