//! What waits until all tracks are there: players want to know them before the first picture.

use std::collections::{BTreeMap, VecDeque};

use super::lane::Lane;
use crate::bitstream::amf0::Value;
use crate::media::{AccessUnit, TrackId};

/// About a second of pictures and sound of several tracks.
const MOST_UNITS: usize = 256;
/// Two seconds at 32 Mb/s.
const MOST_BYTES: usize = 8 << 20;
/// A publisher that announces a track and has not sent it by now will not, or as a late one.
const MOST_MILLIS: i64 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Hold {
    units: VecDeque<AccessUnit>,
    bytes: usize,
    pub(super) announced: Option<Announced>,
}

/// What the metadata says will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    video: bool,
    audio: bool,
}

impl Announced {
    /// `None` when it says nothing.
    pub(super) fn new(metadata: &Value) -> Option<Self> {
        let is = |codec: &str, flag: &str| match (metadata.property(codec), metadata.property(flag)) {
            (_, Some(Value::Boolean(present))) => *present,
            (Some(Value::Number(_)), _) => true,
            (Some(Value::Text(name)), _) => !name.is_empty(),
            _ => false,
        };
        let found = Self { video: is("videocodecid", "hasVideo"), audio: is("audiocodecid", "hasAudio") };
        (found.video || found.audio).then_some(found)
    }
}

impl Hold {
    pub(super) fn push(&mut self, unit: AccessUnit) {
        self.bytes += unit.data.len();
        self.units.push_back(unit);
    }

    pub(super) fn is_over(&self, lanes: &BTreeMap<TrackId, Lane>) -> bool {
        let ready = |video: bool| {
            lanes.values().filter_map(|lane| lane.codec.as_ref()).any(|codec| codec.video().is_some() == video)
        };
        let (video, audio) = (ready(true), ready(false));
        let wanted = self.announced.unwrap_or(Announced { video: true, audio: true });
        let complete = (video || !wanted.video) && (audio || !wanted.audio);
        (video || audio) && (complete || self.is_full())
    }

    fn is_full(&self) -> bool {
        let waited = match (self.units.front(), self.units.back()) {
            // A clock that went back does not count.
            (Some(first), Some(last)) => last.dts.ticks() - first.dts.ticks(),
            _ => 0,
        };
        self.units.len() >= MOST_UNITS || self.bytes >= MOST_BYTES || waited >= MOST_MILLIS
    }

    pub(super) fn into_units(self) -> impl Iterator<Item = AccessUnit> {
        self.units.into_iter()
    }
}
