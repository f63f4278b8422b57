//! Files as publishers: an MP4 of H.264 and AAC, in real time, once or for ever. Reading boxes is `mp4.rs`'s business.

mod mp4;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::{Door, Publish, Refusal};
use crate::media::{AccessUnit, Event, MediaDuration, MediaTime, StreamName, Timescale, Track};
use crate::runtime::Clock;
use mp4::Movie;

/// Access units read ahead: a second of pictures and sound, at most some megabytes.
const READ_AHEAD: usize = 64;

/// `[[file]]`: a file that is a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The stream's name.
    pub stream: StreamName,
    /// An MP4 file of H.264 and, if there is sound, AAC.
    pub path: PathBuf,
    /// Begin again at the end, without a gap in time.
    #[serde(default = "again")]
    pub repeat: bool,
}

fn again() -> bool {
    true
}

/// Why a file is no stream, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not there, or not ours to read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is something else.
    #[error(
        "{path}: {what}; convert it with: ffmpeg -i {path} -c:v libx264 -c:a aac -movflags +faststart new.mp4",
        path = path.display()
    )]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The stream is not to be had.
    #[error("the stream \"{stream}\" did not take the file: {why}")]
    Refused {
        /// Its name.
        stream: StreamName,
        /// Why not.
        why: Refusal,
    },
}

/// What the reading thread sends.
enum Read {
    Tracks(Arc<[Track]>),
    Unit(Box<AccessUnit>),
    Failed(FileError),
}

/// Publishes the file. Ends with the file where it is not repeated, and when the stream lets go.
pub async fn run(config: Config, door: Door, clock: Clock) -> Result<(), FileError> {
    let mut units = read(&config, clock)?;
    // Asked for only once the file is known to be fit.
    let tracks = match units.recv().await {
        Some(Read::Tracks(tracks)) => tracks,
        Some(Read::Failed(error)) => return Err(error),
        Some(Read::Unit(_)) | None => return Err(unfit(&config, "it cannot be read")),
    };
    let refused = |why| FileError::Refused { stream: config.stream.clone(), why };
    let nobody = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let (publish, verdict) = Publish::new(config.stream.clone(), nobody, "file", None);
    door.send(publish).await.map_err(|_| refused(Refusal::ShuttingDown))?;
    let events = verdict.wait().await.map_err(refused)?;
    info!(stream = %config.stream, path = %config.path.display(), "a file is published");
    if events.send(Event::Tracks(tracks)).await.is_err() {
        return Ok(());
    }
    let mut began: Option<(Instant, MediaTime)> = None;
    while let Some(read) = units.recv().await {
        let mut unit = match read {
            Read::Unit(unit) => unit,
            Read::Failed(error) => return Err(error),
            Read::Tracks(_) => continue,
        };
        let (start, first) = *began.get_or_insert_with(|| (Instant::now(), unit.dts));
        let since = unit.dts.since(first).unwrap_or(MediaDuration::zero(Timescale::MILLIS));
        tokio::select! {
            () = sleep_until(start + since.to_std()) => {}
            () = events.closed() => return Ok(()),
        }
        unit.received = clock.now();
        if events.send(Event::Unit(*unit)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn unfit(config: &Config, what: impl Into<String>) -> FileError {
    FileError::Unfit { path: config.path.clone(), what: what.into() }
}

/// Starts the thread that reads. It ends with the file, or when nobody listens any more.
fn read(config: &Config, clock: Clock) -> Result<mpsc::Receiver<Read>, FileError> {
    let (send, units) = mpsc::channel(READ_AHEAD);
    let of = config.clone();
    std::thread::Builder::new()
        .name(format!("file {}", config.stream))
        .spawn(move || {
            if let Err(error) = read_all(&of, clock, &send) {
                // Nobody listens: nobody wants to know.
                let _ = send.blocking_send(Read::Failed(error));
            }
        })
        .map_err(|error| FileError::Read { path: config.path.clone(), error })?;
    Ok(units)
}

fn read_all(config: &Config, clock: Clock, send: &mpsc::Sender<Read>) -> Result<(), FileError> {
    let mut movie = Movie::open(&config.path)?;
    if send.blocking_send(Read::Tracks(movie.tracks())).is_err() {
        return Ok(());
    }
    loop {
        let mut any = false;
        while let Some(unit) = movie.next(clock.now())? {
            any = true;
            if send.blocking_send(Read::Unit(Box::new(unit))).is_err() {
                return Ok(());
            }
        }
        if !any {
            return Err(unfit(config, "it has no pictures and no sound"));
        }
        if !config.repeat {
            return Ok(());
        }
        movie.rewind();
    }
}

#[cfg(test)]
mod tests;
