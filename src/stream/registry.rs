//! Which streams there are: one owner per name. Lets publishers in, starts streams and retires them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use super::live::{End, Stream};
use super::{Setup, Stats};
use crate::ingest::{Publish, Refusal};
use crate::media::{Epoch, StreamName};
use crate::runtime::{Clock, Shutdown, Tasks};
use crate::window::Catalog;

/// Publishers that wait for one stream's verdict; one more is told that the stream is busy.
const DOOR: usize = 4;

/// Streams that end in the same moment: more than may be published at once by default.
const ENDINGS: usize = 4_096;

/// A stream's task says how it ended.
type Ended = (StreamName, End);

/// Lets publishers in.
pub struct Registry {
    /// Read when a stream starts.
    setup: watch::Receiver<Setup>,
    catalog: Catalog,
    stats: Arc<Stats>,
    clock: Clock,
    tasks: Tasks,
    streams: HashMap<StreamName, mpsc::Sender<Publish>>,
    ended: mpsc::Receiver<Ended>,
    endings: mpsc::Sender<Ended>,
    last_epoch: Epoch,
}

impl Registry {
    /// Nothing is published yet.
    pub fn new(setup: watch::Receiver<Setup>, catalog: Catalog, stats: Arc<Stats>, clock: Clock) -> Self {
        let (endings, ended) = mpsc::channel(ENDINGS);
        Self {
            setup,
            catalog,
            stats,
            clock,
            tasks: Tasks::new(),
            streams: HashMap::new(),
            ended,
            endings,
            last_epoch: Epoch(0),
        }
    }

    /// Decides about the publishers that come through the door, until `shutdown`; then waits for the streams to end.
    pub async fn run(mut self, mut door: mpsc::Receiver<Publish>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                publish = door.recv() => match publish {
                    Some(publish) => self.admit(publish, &shutdown),
                    None => break,
                },
                Some((name, end)) = self.ended.recv() => self.retire(&name, end, &shutdown),
                () = shutdown.begun() => break,
            }
        }
        door.close();
        while let Ok(publish) = door.try_recv() {
            publish.refuse(Refusal::ShuttingDown);
        }
        // What has ended stays in the catalog: it is served until the server itself ends.
        while !self.streams.is_empty() {
            let Some((name, end)) = self.ended.recv().await else { break };
            self.streams.remove(&name);
            if let End::Replaced(publish) = end {
                publish.refuse(Refusal::ShuttingDown);
            }
        }
        self.tasks.join().await;
    }

    fn admit(&mut self, publish: Publish, shutdown: &Shutdown) {
        let Some(stream) = self.streams.get(&publish.name) else { return self.start(publish, shutdown) };
        match stream.try_send(publish) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(publish)) => publish.refuse(Refusal::Busy),
            // It is ending this moment.
            Err(mpsc::error::TrySendError::Closed(publish)) => self.start(publish, shutdown),
        }
    }

    fn start(&mut self, publish: Publish, shutdown: &Shutdown) {
        let setup = self.setup.borrow().clone();
        if self.streams.len() >= setup.stream.max_streams {
            self.stats.publishers_refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(stream = %publish.name, peer = %publish.peer, "refused: stream.max_streams is reached");
            return publish.refuse(Refusal::Limit(format!("{} streams are published already", self.streams.len())));
        }
        let name = publish.name.clone();
        let Some(source) = publish.accept() else { return };
        let (stream, presentation) =
            Stream::new(name.clone(), self.epoch(), setup, self.clock, Arc::clone(&self.stats));
        let (publishers, waiting) = mpsc::channel(DOOR);
        self.streams.insert(name.clone(), publishers);
        self.catalog.insert(&name, &presentation);
        self.stats.streams.store(self.streams.len() as u64, Ordering::Relaxed);
        let shutdown = shutdown.clone();
        let span = tracing::info_span!("stream", %name);
        let ending = Ending { name, endings: self.endings.clone(), end: None };
        let task = async move {
            // All of it, so that it is dropped with the task.
            let mut ending = ending;
            ending.end = Some(stream.run(source, waiting, shutdown).await);
        };
        self.tasks.spawn("stream", task.instrument(span));
    }

    fn retire(&mut self, name: &StreamName, end: End, shutdown: &Shutdown) {
        // A closed door means that this name's task has ended; an open one, that a newer task has taken its place.
        if self.streams.get(name).is_some_and(mpsc::Sender::is_closed) {
            self.streams.remove(name);
            // What the shutdown ended is served until the server itself ends.
            if !matches!(end, End::ShutDown) {
                self.catalog.remove(name);
            }
        }
        self.stats.streams.store(self.streams.len() as u64, Ordering::Relaxed);
        if let End::Replaced(publish) = end {
            self.admit(publish, shutdown);
        }
    }

    /// Milliseconds of the wall clock, and never the same twice: a process that starts again does not reuse a numbering.
    fn epoch(&mut self) -> Epoch {
        let millis = self.clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.last_epoch = Epoch(u64::try_from(millis).unwrap_or(u64::MAX).max(self.last_epoch.0 + 1));
        self.last_epoch
    }
}

/// Tells the registry how a stream ended, also when its task panicked.
struct Ending {
    name: StreamName,
    endings: mpsc::Sender<Ended>,
    end: Option<End>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // A stream without a word of its own has crashed; its name is free again.
        let end = self.end.take().unwrap_or(End::Expired);
        if self.endings.try_send((self.name.clone(), end)).is_err() {
            tracing::error!(stream = %self.name, "the registry does not hear that the stream has ended");
        }
    }
}
