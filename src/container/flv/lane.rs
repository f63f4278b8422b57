//! One track of a publisher: its codec, and its frames to access units.

use std::time::Instant;

use bytes::Bytes;

use super::FlvError;
use super::tag::Coding;
use crate::bitstream::nal::{self, Kind};
use crate::bitstream::{BitstreamError, aac, ac3, av1, eac3, flac, h264, h265, mp3, opus, vp9};
use crate::media::{AccessUnit, Codec, MediaDuration, MediaTime, Timescale, TrackId};

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) coding: Coding,
    /// `None` until enough is known.
    pub(super) codec: Option<Codec>,
    /// The sequence header as it came last.
    record: Option<Bytes>,
    /// Bytes before each NAL unit.
    length_size: usize,
}

/// Whether the track is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Codec,
}

/// When a tag is for, and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Milliseconds, of 32 bits that wrap.
    pub(super) timestamp: u32,
    pub(super) received: Instant,
}

impl Lane {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, codec: None, record: None, length_size: 4 }
    }

    /// Takes a sequence header.
    pub(super) fn configure(&mut self, record: Bytes) -> Result<Change, FlvError> {
        // Encoders repeat it, some with nothing in it.
        if record.is_empty() || self.record.as_ref() == Some(&record) {
            return Ok(Change::None);
        }
        let codec = match self.coding {
            Coding::H264 => h264::parameter_sets(&record).and_then(|sets| {
                self.length_size = sets.length_size;
                h264::codec(with_long_lengths(&record, 4))
            }),
            Coding::H265 => h265::parameter_sets(&record).and_then(|sets| {
                self.length_size = sets.length_size;
                h265::codec(with_long_lengths(&record, 21))
            }),
            Coding::Av1 => av1::codec(record.clone()),
            Coding::Aac => aac::codec(record.clone()),
            Coding::Opus => opus::codec(record.clone()),
            Coding::Flac => flac::codec(&record),
            // The first key frame tells the rest.
            Coding::Vp9 => {
                self.record = Some(record);
                return Ok(Change::None);
            }
            // These say it in every frame.
            Coding::Ac3 | Coding::Eac3 | Coding::Mp3 | Coding::Legacy(_) | Coding::FourCc(_) => {
                return Ok(Change::None);
            }
        };
        let codec = codec.map_err(|error| FlvError::Config { codec: self.label(), error })?;
        self.record = Some(record);
        Ok(self.set(codec))
    }

    /// Takes a frame. No unit while the codec is not known, and for frames of nothing.
    pub(super) fn frame(
        &mut self,
        track: TrackId,
        key: bool,
        offset: i32,
        data: Bytes,
        moment: Moment,
    ) -> Result<(Change, Option<AccessUnit>), FlvError> {
        if data.is_empty() {
            return Ok((Change::None, None));
        }
        let taken = self.take(key, data);
        let (change, random_access, data) = taken.map_err(|error| FlvError::Frame { codec: self.label(), error })?;
        let Some(codec) = self.codec.as_ref().filter(|_| !data.is_empty()) else { return Ok((change, None)) };
        let dts = i64::from(moment.timestamp);
        let audio_length = || {
            let rate = Timescale::new(codec.audio()?.sample_rate)?;
            Some(MediaDuration::new(u64::from(codec.samples_per_unit()?), rate))
        };
        let unit = AccessUnit {
            track,
            dts: MediaTime::new(dts, Timescale::MILLIS),
            pts: MediaTime::new(dts + i64::from(offset.max(0)), Timescale::MILLIS),
            duration: audio_length(),
            random_access,
            data,
            received: moment.received,
        };
        Ok((change, Some(unit)))
    }

    /// What the packagers want of a frame, and whether decoding can begin at it.
    fn take(&mut self, key: bool, data: Bytes) -> Result<(Change, bool, Bytes), BitstreamError> {
        let change = match self.coding {
            Coding::H264 => return self.take_nal_units(&data, Kind::H264),
            Coding::H265 => return self.take_nal_units(&data, Kind::H265),
            Coding::Av1 => return Ok((Change::None, key, av1::without_delimiter(data))),
            Coding::Vp9 => match (&self.record, key) {
                (Some(record), true) => self.set(vp9::codec(record.clone(), &data)?),
                _ => Change::None,
            },
            Coding::Ac3 => self.set(ac3::codec(&data)?),
            Coding::Eac3 => self.set(eac3::codec(&data)?),
            Coding::Mp3 => self.set(mp3::codec(&data)?),
            Coding::Aac | Coding::Opus | Coding::Flac | Coding::Legacy(_) | Coding::FourCc(_) => Change::None,
        };
        Ok((change, key, data))
    }

    fn take_nal_units(&mut self, data: &Bytes, kind: Kind) -> Result<(Change, bool, Bytes), BitstreamError> {
        let Some(Codec::H264 { config, .. } | Codec::H265 { config, .. }) = &self.codec else {
            return Ok((Change::None, false, Bytes::new()));
        };
        let found = nal::normalize(data, self.length_size, kind)?;
        let mut change = Change::None;
        if !found.parameter_sets.is_empty() {
            let codec = match kind {
                Kind::H264 => h264::updated(config, &found.parameter_sets)?.map(h264::codec).transpose()?,
                Kind::H265 => h265::updated(config, &found.parameter_sets)?.map(h265::codec).transpose()?,
            };
            change = codec.map_or(Change::None, |codec| self.set(codec));
        }
        let data = if found.picture { found.data } else { Bytes::new() };
        Ok((change, found.random_access, data))
    }

    fn set(&mut self, codec: Codec) -> Change {
        if self.codec.as_ref() == Some(&codec) {
            return Change::None;
        }
        self.codec = Some(codec);
        Change::Codec
    }

    fn label(&self) -> &'static str {
        match self.coding {
            Coding::H264 => "H.264",
            Coding::H265 => "H.265",
            Coding::Av1 => "AV1",
            Coding::Vp9 => "VP9",
            Coding::Aac => "AAC",
            Coding::Opus => "Opus",
            Coding::Ac3 => "AC-3",
            Coding::Eac3 => "E-AC-3",
            Coding::Flac => "FLAC",
            Coding::Mp3 => "MP3",
            Coding::Legacy(name) => name,
            Coding::FourCc(_) => "unknown",
        }
    }
}

/// A record that says what leaves here: lengths of four bytes, whatever came.
fn with_long_lengths(record: &Bytes, at: usize) -> Bytes {
    if record.get(at).is_none_or(|byte| byte & 3 == 3) {
        return record.clone();
    }
    record.iter().enumerate().map(|(index, &byte)| if index == at { byte | 3 } else { byte }).collect()
}
