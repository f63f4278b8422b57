//! FLV tags, as they come in a file or over RTMP, to access units (Video File Format Specification 10 Annex E; Enhanced
//! RTMP v2). Times stay the publisher's: 32 bits of milliseconds that wrap; `stream::timeline` mends them.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod hold;
mod lane;
mod tag;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::bitstream::BitstreamError;
use crate::bitstream::amf0::{Value, read_values};
use crate::media::{Event, Timescale, Track, TrackId};

use hold::{Announced, Hold};
use lane::{Change, Lane, Moment};
use tag::{Coding, Content, Packet};

/// The body of an FLV tag may have 24 bits' worth of bytes; this is where we stop.
const MOST_TAG_BYTES: usize = 16 << 20;
/// Tracks of one publisher, and the most that a multitrack tag's number may be.
const MOST_TRACKS: usize = 32;
const MOST_TRACK_NUMBER: u8 = 99;
const FIRST_AUDIO: u16 = 100;
/// Tags without one that can be packaged, after which nothing good is to be expected: some ten seconds.
const MOST_USELESS_TAGS: u32 = 500;

/// Which list a tag belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are FLV's own words")]
pub enum TagKind {
    Audio,
    Video,
    Script,
}

/// What is wrong with a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// More than any picture needs.
    #[error("a tag of {0} bytes")]
    TooLong(usize),
    /// Of the kind that it names.
    #[error("the {0} tag ends too early")]
    Short(&'static str),
    /// More packets than anybody has tracks.
    #[error("the {0} tag holds too many packets")]
    TooMany(&'static str),
    /// A sequence header that describes no codec.
    #[error("the {codec} sequence header: {error}")]
    Config {
        /// For people.
        codec: &'static str,
        /// What and where.
        error: BitstreamError,
    },
    /// A frame that cannot be taken apart.
    #[error("the {codec} frame: {error}")]
    Frame {
        /// For people.
        codec: &'static str,
        /// What and where.
        error: BitstreamError,
    },
    /// All tracks are of codecs that cannot be packaged.
    #[error("nothing that can be packaged, only {0}")]
    Nothing(String),
}

/// A codec that is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{codec} cannot be packaged and is left out: {remedy}")]
pub struct Unsupported {
    /// Its name or FourCC.
    pub codec: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Tags in, access units out. The first event names all tracks: units are held back, within bounds, until every track
/// that the metadata announces has come.
#[derive(Debug, Default)]
pub struct Demuxer {
    lanes: BTreeMap<TrackId, Lane>,
    /// `None` once the first tracks are out.
    hold: Option<Hold>,
    started: bool,
    events: VecDeque<Event>,
    warnings: VecDeque<Unsupported>,
    /// Frames left out, and of which codecs.
    skipped: u64,
    warned: BTreeSet<String>,
    useless: u32,
}

impl Demuxer {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self { hold: Some(Hold::default()), ..Self::default() }
    }

    /// Takes the body of a tag. `received` is when its last byte came.
    pub fn push(&mut self, kind: TagKind, timestamp: u32, body: Bytes, received: Instant) -> Result<(), FlvError> {
        if body.len() > MOST_TAG_BYTES {
            return Err(FlvError::TooLong(body.len()));
        }
        if body.is_empty() {
            return Ok(());
        }
        let (packets, first) = match kind {
            TagKind::Script => {
                self.script(&body);
                return Ok(());
            }
            TagKind::Video => (tag::video(body)?, 0),
            TagKind::Audio => (tag::audio(body)?, FIRST_AUDIO),
        };
        for packet in packets {
            self.packet(packet, first, Moment { timestamp, received })?;
        }
        if self.hold.as_ref().is_some_and(|hold| hold.is_over(&self.lanes)) {
            self.start();
        }
        Ok(())
    }

    /// The next event.
    pub fn pull(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A codec that was met for the first time and is left out.
    pub fn pull_warning(&mut self) -> Option<Unsupported> {
        self.warnings.pop_front()
    }

    /// How many frames were left out since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Lets go of what is held back: nothing more will come.
    pub fn finish(&mut self) {
        if self.hold.is_some() && self.lanes.values().any(|lane| lane.codec.is_some()) {
            self.start();
        }
    }

    fn packet(&mut self, packet: Packet, first: u16, moment: Moment) -> Result<(), FlvError> {
        if let Some(unsupported) = unsupported(packet.coding) {
            return self.skip(unsupported);
        }
        let id = TrackId(first + u16::from(packet.track));
        let known = self.lanes.contains_key(&id);
        if packet.track > MOST_TRACK_NUMBER || !known && self.lanes.len() == MOST_TRACKS {
            let codec = format!("track {}", packet.track);
            return self.skip(Unsupported { codec, remedy: "send fewer tracks, with numbers below 100" });
        }
        let lane = self.lanes.entry(id).or_insert_with(|| Lane::new(packet.coding));
        if lane.coding != packet.coding {
            *lane = Lane::new(packet.coding);
        }
        let (change, unit) = match packet.content {
            Content::Config(record) => (lane.configure(record)?, None),
            Content::Frame { key, offset, data } => lane.frame(id, key, offset, data, moment)?,
        };
        if change == Change::Codec && self.started {
            self.events.push_back(self.tracks());
        }
        if let Some(unit) = unit {
            self.useless = 0;
            match &mut self.hold {
                Some(hold) => hold.push(unit),
                None => self.events.push_back(Event::Unit(unit)),
            }
        }
        Ok(())
    }

    fn skip(&mut self, unsupported: Unsupported) -> Result<(), FlvError> {
        self.skipped += 1;
        // A publisher may make FourCCs up.
        if self.warned.len() < MOST_TRACKS && self.warned.insert(unsupported.codec.clone()) {
            self.warnings.push_back(unsupported);
        }
        self.useless += 1;
        if self.useless > MOST_USELESS_TAGS && self.lanes.values().all(|lane| lane.codec.is_none()) {
            let codecs: Vec<_> = self.warned.iter().map(String::as_str).collect();
            return Err(FlvError::Nothing(codecs.join(" and ")));
        }
        Ok(())
    }

    /// `onMetaData`, behind `@setDataFrame` or bare. What cannot be read is nothing to end a publisher for.
    fn script(&mut self, body: &[u8]) {
        let Ok(values) = read_values(body) else { return };
        let is = |at: usize, name: &str| values.get(at).and_then(Value::text) == Some(name);
        let object = match (is(0, "@setDataFrame"), is(0, "onMetaData")) {
            (true, _) if is(1, "onMetaData") => values.get(2),
            (_, true) => values.get(1),
            _ => None,
        };
        if let (Some(object), Some(hold)) = (object, &mut self.hold) {
            hold.announced = Announced::new(object);
        }
    }

    fn start(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        self.started = true;
        let tracks = self.tracks();
        self.events.push_back(tracks);
        self.events.extend(hold.into_units().map(Event::Unit));
    }

    fn tracks(&self) -> Event {
        let track = |(&id, lane): (&TrackId, &Lane)| {
            let codec = lane.codec.clone()?;
            Some(Track { id, timescale: Timescale::MILLIS, codec, language: None, delay: 0 })
        };
        Event::Tracks(self.lanes.iter().filter_map(track).collect())
    }
}

fn unsupported(coding: Coding) -> Option<Unsupported> {
    match coding {
        Coding::Legacy(name) => Some(Unsupported {
            codec: name.to_owned(),
            remedy: "set the encoder to H.264 for pictures and AAC for sound",
        }),
        Coding::FourCc(four_cc) => Some(Unsupported {
            codec: four_cc.escape_ascii().to_string(),
            remedy: "set the encoder to H.264, H.265, AV1 or VP9 for pictures and to AAC, Opus or AC-3 for sound",
        }),
        Coding::H264 | Coding::H265 | Coding::Av1 | Coding::Vp9 | Coding::Aac => None,
        Coding::Opus | Coding::Ac3 | Coding::Eac3 | Coding::Flac | Coding::Mp3 => None,
    }
}
