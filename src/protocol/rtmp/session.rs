//! One connection of a publisher, from the handshake to its leaving (RTMP 1.0 § 5.2, § 5.4, § 7; Enhanced RTMP v2
//! "Enhancing NetConnection connect Command").

use std::collections::VecDeque;
use std::io::Cursor;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use scuffle_rtmp::handshake::{HandshakeServer, RTMP_HANDSHAKE_SIZE};

use super::chunk::{self, ChunkReader, Message};
use super::{Fault, PublishName, SessionError};
use crate::bitstream::amf0::{Value, read_values};
use crate::media::NameError;

/// Of what we send. Answers to `connect` are the longest and fit into one.
const OUR_CHUNK_SIZE: u16 = 4096;
/// How much a peer may send before it hears from us, unless it says otherwise; what Flash's servers announce.
const ACKNOWLEDGE_EVERY: u32 = 2_500_000;
/// Commands and metadata that are longer are nobody's.
const MOST_COMMAND_BYTES: usize = 64 << 10;
/// `createStream`s of one connection. Publishers use one.
const MOST_STREAMS: u32 = 16;

/// What the publisher wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// To publish under this name: waits for [`Session::accept`] or [`Session::refuse`].
    Publish(PublishName),
    /// To publish under a name that cannot be; it was told so. The connection has no further use.
    BadName {
        /// `{app}/{key}` as it came.
        asked: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// To play, which is not done here; it was told so.
    Play,
    /// What it publishes: the body of an FLV tag.
    Tag {
        /// Of what kind.
        tag: Tag,
        /// Milliseconds, of 32 bits that wrap.
        timestamp: u32,
        /// Without the tag's header.
        body: Bytes,
    },
    /// It ended its stream.
    Unpublish,
}

/// Kinds of FLV tags; the numbers are those of RTMP's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are FLV's own words")]
pub enum Tag {
    Audio,
    Video,
    Script,
}

impl Tag {
    /// By its number in FLV and RTMP.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// A connection.
pub struct Session {
    stage: Stage,
    chunks: ChunkReader,
    app: String,
    streams: u32,
    /// The message stream on which it publishes, or wants to.
    publishing: Option<u32>,
    output: BytesMut,
    events: VecDeque<Event>,
    window: u32,
    acknowledged: u64,
}

enum Stage {
    /// Waits for C0 and C1, then for C2.
    Handshake(Box<HandshakeServer>, usize),
    Messages,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("app", &self.app).field("at", &self.at()).finish_non_exhaustive()
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// One whose first byte is still to come.
    pub fn new() -> Self {
        Self {
            stage: Stage::Handshake(Box::default(), 1 + RTMP_HANDSHAKE_SIZE),
            chunks: ChunkReader::default(),
            app: String::new(),
            streams: 0,
            publishing: None,
            output: BytesMut::new(),
            events: VecDeque::new(),
            window: ACKNOWLEDGE_EVERY,
            acknowledged: 0,
        }
    }

    /// Takes what is complete out of `input`. What comes of it lies in [`pull`](Self::pull) and
    /// [`take_output`](Self::take_output); both are bounded by what was pushed.
    pub fn push(&mut self, input: &mut BytesMut) -> Result<(), SessionError> {
        while let Stage::Handshake(handshake, wanted) = &mut self.stage {
            let in_c0 = *wanted == 1 + RTMP_HANDSHAKE_SIZE;
            if in_c0 && let Some(&version) = input.first() {
                check_version(version)?;
            }
            if input.len() < *wanted {
                return Ok(());
            }
            let mut answer = Vec::new();
            handshake
                .handshake(&mut Cursor::new(input.split_to(*wanted).freeze()), &mut answer)
                .map_err(|error| SessionError { at: 0, fault: Fault::Handshake(error.to_string()) })?;
            self.output.put_slice(&answer);
            *wanted = RTMP_HANDSHAKE_SIZE;
            if !in_c0 {
                self.stage = Stage::Messages;
                self.chunks = ChunkReader::starting_at(1 + 2 * 1536);
            }
        }
        while let Some(message) = self.chunks.next(input)? {
            self.message(message)?;
        }
        let received = self.chunks.at();
        if self.window != 0 && received - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = received;
            // The counter of § 5.4.3 has 32 bits and wraps.
            let wrapped = u32::try_from(received & u64::from(u32::MAX)).unwrap_or_default();
            self.control(3, &wrapped.to_be_bytes());
        }
        Ok(())
    }

    /// What the publisher wanted next.
    pub fn pull(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes to send.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// Whether the handshake is over.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Messages)
    }

    /// Bytes from the connection's start.
    pub fn at(&self) -> u64 {
        self.chunks.at()
    }

    /// Lets the publisher begin.
    pub fn accept(&mut self) {
        if let Some(stream) = self.publishing {
            self.status(stream, "status", "NetStream.Publish.Start", "publishing");
        }
    }

    /// Tells the publisher why not.
    pub fn refuse(&mut self, why: &str) {
        if let Some(stream) = self.publishing.take() {
            self.status(stream, "error", "NetStream.Publish.BadName", why);
        }
    }

    fn message(&mut self, message: Message) -> Result<(), SessionError> {
        match message.kind {
            1 => {
                let size = self.number(&message)?;
                self.chunks.set_chunk_size(size)?;
            }
            2 => {
                let chunk_stream = self.number(&message)?;
                self.chunks.abort(chunk_stream);
            }
            4 => self.user_control(&message.payload),
            // 0 would mean an answer to every byte, or, for some, a division by it: it means never.
            5 => self.window = self.number(&message)?,
            8 | 9 => self.tag(message.kind, message.timestamp, message.payload),
            // AMF3's containers begin with a byte that says AMF0 after all.
            15 if message.payload.len() <= MOST_COMMAND_BYTES => {
                self.tag(18, message.timestamp, message.payload.slice(message.payload.len().min(1)..));
            }
            17 => self.command(message.stream, message.payload.get(1..).unwrap_or_default())?,
            18 if message.payload.len() <= MOST_COMMAND_BYTES => self.tag(18, message.timestamp, message.payload),
            20 => self.command(message.stream, &message.payload)?,
            22 => self.aggregate(message.timestamp, message.payload),
            _ => {} // acknowledgements, bandwidth, shared objects
        }
        Ok(())
    }

    fn number(&self, message: &Message) -> Result<u32, SessionError> {
        let bytes = message.payload.first_chunk();
        bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| self.error(Fault::ShortControl(message.kind)))
    }

    fn error(&self, fault: Fault) -> SessionError {
        SessionError { at: self.at(), fault }
    }

    /// § 7.1.7: a ping is answered.
    fn user_control(&mut self, payload: &[u8]) {
        if let Some(&[0, 6, a, b, c, d]) = payload.first_chunk() {
            self.control(4, &[0, 7, a, b, c, d]);
        }
    }

    fn tag(&mut self, number: u8, timestamp: u32, body: Bytes) {
        if self.publishing.is_some()
            && !body.is_empty()
            && let Some(tag) = Tag::from_number(number)
        {
            self.events.push_back(Event::Tag { tag, timestamp, body });
        }
    }

    /// § 7.1.6: FLV tags in one message, whose times count from the first one's.
    fn aggregate(&mut self, timestamp: u32, mut payload: Bytes) {
        let mut first = None;
        while let Some(&[kind, s0, s1, s2, t0, t1, t2, t3, _, _, _]) = payload.first_chunk() {
            payload.advance(11);
            let size = usize::try_from(u32::from_be_bytes([0, s0, s1, s2])).unwrap_or_default();
            if payload.len() < size {
                return;
            }
            let body = payload.split_to(size);
            payload.advance(payload.len().min(4));
            let time = u32::from_be_bytes([t3, t0, t1, t2]);
            let since = time.wrapping_sub(*first.get_or_insert(time));
            self.tag(kind, timestamp.wrapping_add(since), body);
        }
    }

    fn command(&mut self, stream: u32, payload: &[u8]) -> Result<(), SessionError> {
        if payload.len() > MOST_COMMAND_BYTES {
            return Ok(());
        }
        let values = read_values(payload).map_err(|error| self.error(Fault::Command(error)))?;
        let name = values.first().and_then(Value::text).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::number).unwrap_or_default();
        let argument = |at: usize| values.get(at + 2).and_then(Value::text).unwrap_or_default();
        match name {
            "connect" => self.connect(transaction, values.get(2).unwrap_or(&Value::Null)),
            "createStream" => {
                self.streams = (self.streams + 1).min(MOST_STREAMS);
                let id = f64::from(self.streams);
                self.invoke(0, "_result", transaction, &[Value::Null, id.into()]);
            }
            "releaseStream" | "_checkbw" => self.invoke(0, "_result", transaction, &[Value::Null, Value::Null]),
            "FCPublish" => {
                let info =
                    Value::object([("code", "NetStream.Publish.Start".into()), ("description", argument(1).into())]);
                self.invoke(0, "onFCPublish", 0.0, &[Value::Null, info]);
            }
            "publish" => self.publish(stream, argument(1)),
            "FCUnpublish" => {
                let info = Value::object([
                    ("code", "NetStream.Unpublish.Success".into()),
                    ("description", argument(1).into()),
                ]);
                self.invoke(0, "onFCUnpublish", 0.0, &[Value::Null, info]);
                self.unpublish();
            }
            "deleteStream" | "closeStream" => self.unpublish(),
            "play" | "play2" => {
                let why = "RTMP is for publishing here: play the stream over HLS";
                self.status(stream, "error", "NetStream.Play.StreamNotFound", why);
                self.events.push_back(Event::Play);
            }
            // What answers us, and what wants no answer.
            "_result" | "_error" | "onStatus" => {}
            _ if transaction == 0.0 => {}
            _ => {
                let info = Value::object([
                    ("level", "error".into()),
                    ("code", "NetConnection.Call.Failed".into()),
                    ("description", "no such command".into()),
                ]);
                self.invoke(0, "_error", transaction, &[Value::Null, info]);
            }
        }
        Ok(())
    }

    fn connect(&mut self, transaction: f64, object: &Value) {
        object.property("app").and_then(Value::text).unwrap_or_default().clone_into(&mut self.app);
        let encoding = object.property("objectEncoding").and_then(Value::number).unwrap_or_default();
        self.control(5, &ACKNOWLEDGE_EVERY.to_be_bytes());
        let mut bandwidth = ACKNOWLEDGE_EVERY.to_be_bytes().to_vec();
        bandwidth.push(2); // "dynamic": as the peer likes
        self.control(6, &bandwidth);
        self.control(4, &[0, 0, 0, 0, 0, 0]); // stream 0 begins
        self.control(1, &u32::from(OUR_CHUNK_SIZE).to_be_bytes());
        let mut properties = vec![
            ("fmsVer".to_owned(), "FMS/3,5,7,7009".into()),
            ("capabilities".to_owned(), 31.0.into()),
            ("mode".to_owned(), 1.0.into()),
        ];
        let mut information = vec![
            ("level".to_owned(), "status".into()),
            ("code".to_owned(), "NetConnection.Connect.Success".into()),
            ("description".to_owned(), "connected".into()),
            ("objectEncoding".to_owned(), encoding.into()),
        ];
        // Publishers look for these in either of the two.
        properties.extend(enhanced());
        information.extend(enhanced());
        self.invoke(0, "_result", transaction, &[Value::Object(properties), Value::Object(information)]);
    }

    fn publish(&mut self, stream: u32, key: &str) {
        if self.publishing.is_some() {
            self.status(stream, "error", "NetStream.Publish.BadName", "this connection publishes a stream already");
            return;
        }
        match PublishName::new(&self.app, key) {
            Ok(name) => {
                self.publishing = Some(stream);
                let [a, b, c, d] = stream.to_be_bytes();
                self.control(4, &[0, 0, a, b, c, d]); // this stream begins
                self.events.push_back(Event::Publish(name));
            }
            Err(error) => {
                self.status(stream, "error", "NetStream.Publish.BadName", &error.to_string());
                let asked = format!("{}/{key}", self.app);
                self.events.push_back(Event::BadName { asked, error });
            }
        }
    }

    fn unpublish(&mut self) {
        if let Some(stream) = self.publishing.take() {
            self.status(stream, "status", "NetStream.Unpublish.Success", "the stream has ended");
            self.events.push_back(Event::Unpublish);
        }
    }

    fn status(&mut self, stream: u32, level: &str, code: &str, description: &str) {
        let information =
            Value::object([("level", level.into()), ("code", code.into()), ("description", description.into())]);
        self.invoke(stream, "onStatus", 0.0, &[Value::Null, information]);
    }

    fn invoke(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) {
        let mut payload = BytesMut::new();
        Value::from(name).write(&mut payload);
        Value::from(transaction).write(&mut payload);
        arguments.iter().for_each(|value| value.write(&mut payload));
        chunk::write(&mut self.output, 3, 20, stream, &payload, usize::from(OUR_CHUNK_SIZE));
    }

    /// Protocol control: message stream 0, chunk stream 2 (§ 5.4).
    fn control(&mut self, kind: u8, payload: &[u8]) {
        chunk::write(&mut self.output, 2, kind, 0, payload, 128);
    }
}

/// What Enhanced RTMP v2 lets a server say about itself.
fn enhanced() -> [(String, Value); 4] {
    /// `CanDecode | CanForward`.
    const HANDLES: f64 = 5.0;
    /// `Multitrack | ModEx | TimestampNanoOffset`.
    const CAPABILITIES: f64 = 14.0;
    let video = ["avc1", "hvc1", "av01", "vp09"];
    let audio = ["mp4a", "Opus", "ac-3", "ec-3", "fLaC", ".mp3"];
    let map = |codecs: &[&str]| Value::Object(codecs.iter().map(|&codec| (codec.to_owned(), HANDLES.into())).collect());
    [
        ("fourCcList".to_owned(), Value::List(video.iter().chain(&audio).map(|&codec| codec.into()).collect())),
        ("videoFourCcInfoMap".to_owned(), map(&video)),
        ("audioFourCcInfoMap".to_owned(), map(&audio)),
        ("capsEx".to_owned(), CAPABILITIES.into()),
    ]
}

/// § 5.2.2: C0. Said at once, as what is no RTMP will not send the 1536 bytes that follow.
fn check_version(version: u8) -> Result<(), SessionError> {
    let what = match version {
        3 => return Ok(()),
        0x16 => "TLS",
        6 | 8 => "RTMPE",
        b'G' | b'P' | b'H' | b'O' | b'D' => "HTTP",
        _ => "something else",
    };
    Err(SessionError { at: 0, fault: Fault::NotRtmp(what) })
}
