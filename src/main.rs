//! The command line: arguments, configuration, logging, signals; the rest is the library's.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater::control::{Config, log};
use headwater::runtime::Shutdown;
use headwater::server::Server;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An HLS segmenting HTTP origin: publishers push, a transcoder ladder cuts, browsers and CDNs pull.
#[derive(Parser)]
#[command(version = headwater::version(), about, after_help = "Push:  ffmpeg -re -i FILE -c copy -f flv rtmp://HOST/live/cam1
Play:  http://HOST:8080/live/cam1/  or  http://HOST:8080/live/cam1/index.m3u8")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take publishers and serve players until SIGTERM.
    Serve {
        /// Configuration; without it every key has its default. Watched while the server runs.
        #[arg(short, long, value_name = "FILE", env = "HEADWATER_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Say whether a configuration is right, and change nothing.
    Check {
        /// Configuration.
        #[arg(short, long, value_name = "FILE", env = "HEADWATER_CONFIG")]
        config: PathBuf,
    },
    /// Serve, and publish a generated picture and sound as the stream `demo`.
    Demo {
        /// Configuration.
        #[arg(short, long, value_name = "FILE", env = "HEADWATER_CONFIG")]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { config } => serve(config, false),
        Command::Demo { config } => serve(config, true),
        Command::Check { config } => check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "headwater: {message}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<(), String> {
    Config::load(path).map_err(|error| error.to_string())?;
    say(&format!("{}: right\n", path.display()))
}

fn serve(path: Option<PathBuf>, demo: bool) -> Result<(), String> {
    let config = match &path {
        Some(path) => Config::load(path).map_err(|error| error.to_string())?,
        None => Config::default(),
    };
    log::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the async runtime cannot start: {error}"))?;
    runtime.block_on(async {
        let mut server = Server::bind(config, path).map_err(|error| error.to_string())?;
        if demo {
            server = server.with_demo("demo".parse().map_err(|error| format!("{error}"))?);
        }
        say(&greeting(&server, demo).map_err(|error| error.to_string())?)?;
        let shutdown = Shutdown::default();
        let mut signals = Signals::new().map_err(|error| format!("signals cannot be caught: {error}"))?;
        let stop = shutdown.clone();
        let serving = server.run(shutdown);
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            result = &mut serving => return result.map_err(|error| error.to_string()),
            () = signals.next() => stop.begin(),
        }
        tokio::select! {
            result = serving => result.map_err(|error| error.to_string()),
            () = signals.next() => Err("stopped at once by a second signal".to_owned()),
        }
    })
}

/// SIGTERM and SIGINT: the first drains, the second stops at once.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What listens where, and the first URL to open.
fn greeting(server: &Server, demo: bool) -> std::io::Result<String> {
    let host = |address: SocketAddr| {
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
    };
    let (http, rtmp) = (server.http_address()?, server.rtmp_address()?);
    let port = if rtmp.port() == 1935 { host(rtmp).replace(":1935", "") } else { host(rtmp) };
    let open = if demo { format!("http://{}/demo/", host(http)) } else { format!("http://{}/", host(http)) };
    Ok(format!(
        "headwater {}\n  HTTP  {http}   players and pages\n  RTMP  {rtmp}   publishers: rtmp://{port}/live/cam1\n\
         \n  open  {open}\n",
        env!("CARGO_PKG_VERSION"),
    ))
}

fn say(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
}
