//! Publishers over RTMP: sockets, deadlines and back-pressure around `protocol::rtmp` and `container::flv`.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, info, info_span, warn};

use super::{Door, Publish, Refusal, Sink};
use crate::container::flv::{Demuxer, FlvError, TagKind};
use crate::media::StreamName;
use crate::protocol::rtmp::{self, PublishName, Session, SessionError, Tag};
use crate::runtime::{Clock, Tasks};

/// From the first byte of a connection to its last of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// From the handshake to `publish`, and for our answers to be taken.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// One read of a publisher that sends at 10 Mb/s in bursts; saves system calls.
const READ_BYTES: usize = 64 << 10;
/// Before the next try, when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// `[rtmp]`: where publishers are waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port. `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// A publisher from which no picture or sound comes for so long is let go.
    #[serde(with = "crate::media::duration_text")]
    pub idle_timeout: Duration,
    /// Connections at once; more wait until one leaves.
    pub max_publishers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, 1935).into(),
            idle_timeout: Duration::from_secs(10),
            max_publishers: 256,
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Publishers that were not let in.
    pub refused: AtomicU64,
    /// Publishers that were let go because they fell silent, or did not take our answers.
    pub dropped: AtomicU64,
    /// Connections ended because what they sent was not RTMP, or not FLV.
    pub protocol_errors: AtomicU64,
    /// Tags left out because their codec cannot be packaged.
    pub skipped_tags: AtomicU64,
    /// Bytes received.
    pub bytes: AtomicU64,
}

impl Stats {
    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    config: Config,
}

/// Binds the port.
pub fn bind(config: Config) -> io::Result<Listener> {
    Ok(Listener { socket: crate::runtime::listen(config.listen)?, config })
}

impl Listener {
    /// Where it listens: the port is known even where the configuration says 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Brings publishers to the door, for ever. Dropped, it takes no more of them; those there stay with `tasks`.
    pub async fn run(self, door: Door, tasks: Tasks, clock: Clock, stats: Arc<Stats>) {
        let permits = Arc::new(Semaphore::new(self.config.max_publishers));
        loop {
            if permits.available_permits() == 0 {
                warn!(max_publishers = self.config.max_publishers, "no more RTMP connections until one leaves");
            }
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (socket, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "an RTMP connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            Stats::add(&stats.connections, 1);
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
            let connection = Connection {
                socket,
                peer,
                input: BytesMut::new(),
                session: Session::new(),
                demuxer: Demuxer::new(),
                idle_timeout: self.config.idle_timeout,
                door: door.clone(),
                clock,
                stats: Arc::clone(&stats),
                publishing: None,
            };
            let span = info_span!("rtmp", %peer);
            let connection = async move {
                connection.run().await;
                drop(permit);
            };
            tasks.spawn("rtmp publisher", connection.instrument(span));
        }
    }
}

struct Connection {
    socket: TcpStream,
    peer: SocketAddr,
    input: BytesMut,
    session: Session,
    demuxer: Demuxer,
    idle_timeout: Duration,
    door: Door,
    clock: Clock,
    stats: Arc<Stats>,
    publishing: Option<Publishing>,
}

struct Publishing {
    name: StreamName,
    events: Sink,
}

/// How a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the publisher closed the connection")]
    Closed,
    #[error("the stream let go of its publisher")]
    LetGo,
    #[error("not let in: {0}")]
    Refused(Refusal),
    #[error("\"{}\" cannot be a stream: {error}", asked.escape_default())]
    BadName { asked: String, error: crate::media::NameError },
    #[error("it asked to play, which RTMP does not do here: play over HLS")]
    Play,
    #[error("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    NoHandshake,
    #[error("nothing published within {} s of the handshake", COMMAND_TIMEOUT.as_secs())]
    NoPublish,
    #[error("no picture and no sound for {0:?}: check the encoder and the network to it")]
    Silent(Duration),
    #[error("it does not take our answers")]
    Deaf,
    #[error("{error}: {}", error.fault.remedy())]
    Protocol {
        #[from]
        error: SessionError,
    },
    #[error("byte {at}: {error}: check the encoder's settings, or use another one")]
    Media { at: u64, error: FlvError },
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Encoders that are closed in a hurry reset, or do not wait for our last answer.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl Connection {
    async fn run(mut self) {
        let Err(end) = self.serve().await;
        let stream = self.end_stream().await;
        // What was said last is worth a try.
        if !matches!(end, End::Deaf | End::Io(_) | End::Closed) {
            let _ = self.answer().await;
            let _ = timeout(COMMAND_TIMEOUT, self.socket.shutdown()).await;
        }
        self.report(stream.as_ref().map(StreamName::as_str), &end);
    }

    /// Hands over what was held back and closes the queue: the stream sees that its publisher has gone.
    async fn end_stream(&mut self) -> Option<StreamName> {
        let Publishing { name, events } = self.publishing.take()?;
        self.demuxer.finish();
        while let Some(event) = self.demuxer.pull() {
            if events.send(event).await.is_err() {
                break;
            }
        }
        self.demuxer = Demuxer::new();
        Some(name)
    }

    /// The one place where a connection's end is logged and counted.
    fn report(&self, stream: Option<&str>, end: &End) {
        let at = self.session.at();
        match end {
            End::Closed | End::LetGo => match stream {
                Some(stream) => info!(stream, at, "{end}"),
                None => tracing::debug!(at, "{end}"),
            },
            End::Refused(_) | End::BadName { .. } | End::Play => {
                Stats::add(&self.stats.refused, 1);
                warn!(stream, "publisher refused: {end}");
            }
            End::NoHandshake | End::NoPublish | End::Silent(_) | End::Deaf | End::Io(_) => {
                Stats::add(&self.stats.dropped, 1);
                warn!(stream, at, "publisher dropped: {end}");
            }
            End::Protocol { .. } | End::Media { .. } => {
                Stats::add(&self.stats.protocol_errors, 1);
                warn!(stream, at, "publisher dropped: {end}");
            }
        }
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let mut deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let mut opened = false;
        loop {
            self.read(deadline).await?;
            let pushed = self.session.push(&mut self.input);
            if !opened && self.session.is_open() {
                opened = true;
                deadline = Instant::now() + COMMAND_TIMEOUT;
            }
            self.answer().await?;
            // What was complete before an error still counts.
            while let Some(event) = self.session.pull() {
                match event {
                    rtmp::Event::Publish(name) => {
                        self.publish(name).await?;
                        deadline = Instant::now() + self.idle_timeout;
                    }
                    rtmp::Event::Tag { tag, timestamp, body } => {
                        self.tag(tag, timestamp, body).await?;
                        deadline = Instant::now() + self.idle_timeout;
                    }
                    rtmp::Event::Unpublish => {
                        // It closes the connection itself, and takes it for an error when we do.
                        deadline = Instant::now() + COMMAND_TIMEOUT;
                        let stream = self.end_stream().await;
                        info!(stream = stream.as_ref().map(StreamName::as_str), "the publisher ended its stream");
                    }
                    rtmp::Event::BadName { asked, error } => return Err(End::BadName { asked, error }),
                    rtmp::Event::Play => return Err(End::Play),
                }
            }
            pushed?;
        }
    }

    async fn read(&mut self, deadline: Instant) -> Result<(), End> {
        self.input.reserve(READ_BYTES);
        let events = self.publishing.as_ref().map(|publishing| &publishing.events);
        let let_go = async {
            match events {
                Some(events) => events.closed().await,
                None => std::future::pending().await,
            }
        };
        let read = tokio::select! {
            read = timeout_at(deadline, self.socket.read_buf(&mut self.input)) => read,
            () = let_go => return Err(End::LetGo),
        };
        match read {
            Err(_) if self.publishing.is_some() => Err(End::Silent(self.idle_timeout)),
            Err(_) if self.session.is_open() => Err(End::NoPublish),
            Err(_) => Err(End::NoHandshake),
            Ok(Ok(0)) => Err(End::Closed),
            Ok(Ok(bytes)) => {
                Stats::add(&self.stats.bytes, u64::try_from(bytes).unwrap_or_default());
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn answer(&mut self) -> Result<(), End> {
        let answer = self.session.take_output();
        if answer.is_empty() {
            return Ok(());
        }
        timeout(COMMAND_TIMEOUT, self.socket.write_all(&answer)).await.map_err(|_| End::Deaf)??;
        Ok(())
    }

    async fn publish(&mut self, asked: PublishName) -> Result<(), End> {
        let name = asked.name;
        // No handle to this task: a stream that lets go shows by its closed queue, and the publisher can still be told.
        let (publish, verdict) = Publish::new(name.clone(), self.peer, "rtmp", None);
        let verdict = match self.door.send(publish).await {
            Ok(()) => verdict.wait().await,
            Err(_) => Err(Refusal::ShuttingDown),
        };
        match verdict {
            Ok(events) => {
                self.session.accept();
                self.publishing = Some(Publishing { name, events });
                self.answer().await
            }
            Err(why) => {
                self.session.refuse(&why.to_string());
                Err(End::Refused(why))
            }
        }
    }

    async fn tag(&mut self, tag: Tag, timestamp: u32, body: bytes::Bytes) -> Result<(), End> {
        let kind = match tag {
            Tag::Audio => TagKind::Audio,
            Tag::Video => TagKind::Video,
            Tag::Script => TagKind::Script,
        };
        let pushed = self.demuxer.push(kind, timestamp, body, self.clock.now());
        Stats::add(&self.stats.skipped_tags, self.demuxer.take_skipped());
        while let Some(warning) = self.demuxer.pull_warning() {
            warn!(stream = self.publishing.as_ref().map(|publishing| publishing.name.as_str()), "{warning}");
        }
        if let Some(Publishing { events, .. }) = &self.publishing {
            while let Some(event) = self.demuxer.pull() {
                events.send(event).await.map_err(|_| End::LetGo)?;
            }
        }
        pushed.map_err(|error| End::Media { at: self.session.at(), error })
    }
}
