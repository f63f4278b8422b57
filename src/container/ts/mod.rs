//! MPEG-TS segments (ISO/IEC 13818-1) made from the samples of CMAF segments: a pure function of them, the same bytes each
//! time. Reading MPEG-TS is not done here.
//!
//! Every segment begins with continuity counter 0 on each PID and holds a multiple of 16 packets of each, so that counters
//! run on from segment to segment although any of them can be made alone.

mod adts;
mod packets;
mod pes;
mod tables;

use bytes::Bytes;

use super::fmp4::Sample;
use crate::bitstream::{BitstreamError, h264, h265};
use crate::media::{Codec, MediaTime, Timescale, Track};
use adts::Adts;
use packets::Packets;

const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;

/// Packets of each PID come in multiples of this: a continuity counter has four bits.
const COUNTER_PERIOD: usize = 16;

/// The clock runs this far ahead of decoding: what a decoder may buffer (§ 2.4.2 allows a second).
const PCR_LEAD: i64 = 45_000;

/// Sound that is put into one PES packet: a few frames, a dozen transport packets.
const AUDIO_PES_BYTES: usize = 2_600;

/// One track's samples of one segment.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    /// With the parameters that the samples need.
    pub track: &'a Track,
    /// Decode time of the first sample, on the track's clock.
    pub start: MediaTime,
    /// In decoding order.
    pub samples: Vec<Sample>,
}

/// Why a segment cannot be had as MPEG-TS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsError {
    /// No such stream type in use.
    #[error("{0} is not carried in MPEG-TS")]
    Codec(&'static str),
    /// The parameter sets cannot be read.
    #[error("configuration record: {0}")]
    Config(#[from] BitstreamError),
    /// The AAC configuration cannot be said in an ADTS header.
    #[error("the AAC configuration does not fit into ADTS: {0}")]
    Adts(&'static str),
}

/// The segment that holds these tracks.
pub fn segment(video: Option<&Stream<'_>>, audio: Option<&Stream<'_>>) -> Result<Bytes, TsError> {
    let mut units = Vec::new();
    if let Some(video) = video {
        units.extend(pictures(video)?);
    }
    if let Some(audio) = audio {
        units.extend(sound(audio)?);
    }
    units.sort_by_key(|unit| unit.dts);

    let payload: usize = units.iter().map(|unit| unit.len() + 32).sum();
    let mut packets = Packets::with_capacity(payload + payload / 20 + 64 * 188);
    let tables = tables::Tables::new(video.map(|stream| stream.track), audio.map(|stream| stream.track))?;
    let clock = if video.is_some() { VIDEO_PID } else { AUDIO_PID };
    let last_of = |pid: u16| units.iter().rposition(|unit| unit.pid == pid);
    let last = [last_of(VIDEO_PID), last_of(AUDIO_PID)];
    // Tables are repeated evenly, for those who join in the middle.
    let step = units.len().div_ceil(COUNTER_PERIOD).max(1);
    for (index, unit) in units.iter().enumerate() {
        if index.is_multiple_of(step) {
            tables.write(&mut packets);
        }
        let pcr = (unit.pid == clock).then(|| unit.dts - PCR_LEAD);
        packets.write_unit(unit, pcr, last.contains(&Some(index)));
    }
    while !packets.count(PAT_PID).is_multiple_of(COUNTER_PERIOD) || packets.count(PAT_PID) == 0 {
        tables.write(&mut packets);
    }
    Ok(packets.finish())
}

/// What becomes one PES packet.
#[derive(Debug)]
struct Unit {
    pid: u16,
    /// 90 kHz, not wrapped yet.
    pts: i64,
    dts: i64,
    random_access: bool,
    /// Sent one after the other.
    pieces: Vec<Bytes>,
}

impl Unit {
    fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

fn ticks_90k(ticks: i64, scale: Timescale) -> i64 {
    MediaTime::new(ticks, scale).to_scale(Timescale::MPEG).ticks()
}

/// Pictures with delimiters, and parameter sets before each that can be decoded alone.
fn pictures(stream: &Stream<'_>) -> Result<Vec<Unit>, TsError> {
    let (delimiter, sets): (&'static [u8], Vec<Bytes>) = match &stream.track.codec {
        Codec::H264 { config, .. } => {
            let sets = h264::parameter_sets(config)?;
            (&[0, 0, 0, 1, 0x09, 0xF0], sets.sps.into_iter().chain(sets.pps).collect())
        }
        Codec::H265 { config, .. } => {
            let sets = h265::parameter_sets(config)?;
            (&[0, 0, 0, 1, 0x46, 0x01, 0x50], sets.vps.into_iter().chain(sets.sps).chain(sets.pps).collect())
        }
        other => return Err(TsError::Codec(other.label())),
    };
    let mut head = Vec::new();
    for set in &sets {
        head.extend_from_slice(&[0, 0, 0, 1]);
        head.extend_from_slice(set);
    }
    let head = Bytes::from(head);
    let scale = stream.track.timescale;
    let mut decode = stream.start.ticks();
    let unit = |sample: &Sample| {
        let dts = decode;
        decode += i64::from(sample.duration);
        let mut pieces = vec![Bytes::from_static(delimiter)];
        if sample.sync {
            pieces.push(head.clone());
        }
        pieces.push(start_codes(&sample.data));
        Unit {
            pid: VIDEO_PID,
            pts: ticks_90k(dts + i64::from(sample.composition_offset), scale),
            dts: ticks_90k(dts, scale),
            random_access: sample.sync,
            pieces,
        }
    };
    Ok(stream.samples.iter().map(unit).collect())
}

/// Four-byte lengths become four-byte start codes (ISO/IEC 14496-10 Annex B).
fn start_codes(data: &Bytes) -> Bytes {
    let mut bytes = data.to_vec();
    let mut at = 0;
    while let Some(field) = bytes.get_mut(at..at + 4) {
        let length = u32::from_be_bytes([field[0], field[1], field[2], field[3]]) as usize;
        field.copy_from_slice(&[0, 0, 0, 1]);
        at = at.saturating_add(4).saturating_add(length);
    }
    bytes.into()
}

/// Frames of AAC with ADTS headers, several to a PES packet as long as they follow each other without a hole.
fn sound(stream: &Stream<'_>) -> Result<Vec<Unit>, TsError> {
    let Codec::Aac(aac) = &stream.track.codec else { return Err(TsError::Codec(stream.track.codec.label())) };
    let adts = Adts::new(&aac.config)?;
    let scale = stream.track.timescale;
    let mut units: Vec<Unit> = Vec::new();
    let mut decode = stream.start.ticks();
    let mut joins = false;
    for sample in &stream.samples {
        let frame = adts.header(sample.data.len());
        match units.last_mut() {
            Some(unit) if joins && unit.len() + frame.len() + sample.data.len() <= AUDIO_PES_BYTES => {
                unit.pieces.push(frame);
                unit.pieces.push(sample.data.clone());
            }
            _ => {
                let at = ticks_90k(decode, scale);
                let pieces = vec![frame, sample.data.clone()];
                units.push(Unit { pid: AUDIO_PID, pts: at, dts: at, random_access: true, pieces });
            }
        }
        joins = stream.track.codec.samples_per_unit() == Some(sample.duration);
        decode += i64::from(sample.duration);
    }
    Ok(units)
}

#[cfg(test)]
mod tests;
