//! Stage 1: sockets in. A listener turns each publisher into a [`Publish`] that waits for a verdict; policy is decided by
//! whoever holds the other end of the [`Door`].

pub mod file;
pub mod generated;
pub mod rtmp;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::media::{AccessUnit, Event, StreamName};
use crate::runtime::Task;

/// Where listeners bring publishers. A full door makes the listener wait: publishers then wait in the kernel's backlog.
pub type Door = mpsc::Sender<Publish>;

/// Events between a connection and its stream. About a second of pictures and sound; when full, the connection stops
/// reading its socket.
const SOURCE_QUEUE: usize = 64;

/// Bytes of access units in that queue: a key frame of any sane source fits, a flood of the largest messages does not.
const SOURCE_BYTES: u32 = 16 << 20;

/// A publisher that has named its stream and waits to be let in. Dropped without a verdict, it is refused.
#[derive(Debug)]
pub struct Publish {
    /// The stream it wants to be.
    pub name: StreamName,
    /// Who it is.
    pub peer: SocketAddr,
    /// `rtmp`, `file`, …: for logs and metrics.
    pub protocol: &'static str,
    verdict: oneshot::Sender<Result<Sink, Refusal>>,
    task: Option<Task>,
}

/// Why a publisher was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody publishes this name already.
    #[error("the stream has a publisher already")]
    Busy,
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A limit of the configuration.
    #[error("{0}")]
    Limit(String),
}

/// What a connection waits for after it made its [`Publish`].
#[derive(Debug)]
pub struct Verdict(oneshot::Receiver<Result<Sink, Refusal>>);

impl Verdict {
    /// Where to send events, or why not.
    pub async fn wait(self) -> Result<Sink, Refusal> {
        self.0.await.unwrap_or(Err(Refusal::ShuttingDown))
    }
}

impl Publish {
    /// A publisher and its waiting end. With `task`, the connection ends when the stream lets go of the source.
    pub fn new(name: StreamName, peer: SocketAddr, protocol: &'static str, task: Option<Task>) -> (Self, Verdict) {
        let (verdict, wait) = oneshot::channel();
        (Self { name, peer, protocol, verdict, task }, Verdict(wait))
    }

    /// Lets it in. `None` when it has left meanwhile.
    pub fn accept(self) -> Option<Source> {
        let (events, queue) = mpsc::channel(SOURCE_QUEUE);
        let sink = Sink { events, room: Arc::new(Semaphore::new(SOURCE_BYTES as usize)) };
        self.verdict.send(Ok(sink)).ok()?;
        Some(Source { peer: self.peer, protocol: self.protocol, queue, _task: self.task })
    }

    /// Turns it away.
    pub fn refuse(self, why: Refusal) {
        // The publisher may have left: then nobody needs to be told.
        let _ = self.verdict.send(Err(why));
    }
}

/// Where an admitted publisher's events go.
#[derive(Debug)]
pub struct Sink {
    events: mpsc::Sender<(Event, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// The stream has let go of the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has let go of the publisher")]
pub struct LetGo;

impl Sink {
    /// Waits for room, then sends.
    pub async fn send(&self, event: Event) -> Result<(), LetGo> {
        let bytes = match &event {
            Event::Unit(unit) => {
                // What holds a unit is not nothing, and a flood of empty ones is a flood.
                let bytes = unit.data.len() + size_of::<AccessUnit>();
                u32::try_from(bytes).unwrap_or(SOURCE_BYTES).min(SOURCE_BYTES)
            }
            Event::Tracks(_) | Event::Gap => 0,
        };
        tokio::select! {
            permit = Arc::clone(&self.room).acquire_many_owned(bytes) => {
                let permit = permit.map_err(|_| LetGo)?;
                self.events.send((event, permit)).await.map_err(|_| LetGo)
            }
            () = self.events.closed() => Err(LetGo),
        }
    }

    /// Waits until the stream lets go.
    pub async fn closed(&self) {
        self.events.closed().await;
    }
}

/// An admitted publisher. Dropped, its connection ends.
#[derive(Debug)]
pub struct Source {
    /// Who it is.
    pub peer: SocketAddr,
    /// `rtmp`, `file`, …
    pub protocol: &'static str,
    queue: mpsc::Receiver<(Event, OwnedSemaphorePermit)>,
    _task: Option<Task>,
}

impl Source {
    /// What it sent next, on its own clock; `None` when it has left.
    pub async fn next(&mut self) -> Option<Event> {
        // The permit goes back here: what has been taken is the stream's to bound.
        self.queue.recv().await.map(|(event, _permit)| event)
    }
}
