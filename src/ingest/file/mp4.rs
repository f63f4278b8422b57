//! An MP4 file's samples in decoding order, with times that run on from one pass to the next (ISO/IEC 14496-12). Boxes
//! are the `mp4` crate's business.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mp4::{Mp4Reader, Mp4Track};

use super::FileError;
use crate::bitstream::nal::{self, Kind};
use crate::bitstream::{BitstreamError, aac, h264};
use crate::media::{AccessUnit, Codec, MediaDuration, MediaTime, Rotation, Timescale, Track, TrackId};

/// An open file.
pub(super) struct Movie {
    path: PathBuf,
    reader: Mp4Reader<BufReader<File>>,
    lanes: Vec<Lane>,
    /// How long all passes before this one were together.
    passed: MediaDuration,
}

struct Lane {
    /// In the file.
    number: u32,
    track: Track,
    length_size: usize,
    samples: u32,
    /// Counts from 1.
    next: u32,
    /// When the next sample is to be decoded, on the movie's clock of this pass.
    due: MediaTime,
    /// Where the edit list begins: what lies before it is only decoded.
    zero: i64,
}

impl Movie {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let read = |error| FileError::Read { path: path.to_owned(), error };
        let unfit = |what: String| FileError::Unfit { path: path.to_owned(), what };
        let file = File::open(path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let reader = Mp4Reader::read_header(BufReader::new(file), size)
            .map_err(|error| unfit(format!("it is not MP4 ({error})")))?;
        if reader.is_fragmented() {
            return Err(unfit("it is a fragmented MP4".to_owned()));
        }
        let mut lanes = Vec::new();
        let mut numbers: Vec<_> = reader.tracks().keys().copied().collect();
        numbers.sort_unstable();
        for (index, number) in (0_u16..).zip(numbers) {
            let Some(found) = reader.tracks().get(&number) else { continue };
            let Some(coded) = coded(found) else { continue };
            let (codec, length_size) = coded.map_err(|error| unfit(format!("its track {index}: {error}")))?;
            // One of each: the first.
            if lanes.iter().any(|lane: &Lane| lane.track.codec.video().is_some() == codec.video().is_some()) {
                continue;
            }
            let timescale = Timescale::new(found.timescale())
                .ok_or_else(|| unfit(format!("its track {index} has a timescale of zero")))?;
            let zero = edit_start(found);
            let samples = found.sample_count();
            let delay = u64::try_from(zero).unwrap_or_default();
            let track = Track { id: TrackId(index), timescale, codec, language: None, delay };
            let due = MediaTime::new(-zero, timescale);
            lanes.push(Lane { number, track, length_size, samples, next: 1, due, zero });
        }
        if lanes.is_empty() {
            return Err(unfit("it has no H.264 and no AAC".to_owned()));
        }
        Ok(Self { path: path.to_owned(), reader, lanes, passed: MediaDuration::zero(Timescale::MICROS) })
    }

    pub(super) fn tracks(&self) -> Arc<[Track]> {
        self.lanes.iter().map(|lane| lane.track.clone()).collect()
    }

    /// The next sample of this pass, by decoding time.
    pub(super) fn next(&mut self, received: Instant) -> Result<Option<AccessUnit>, FileError> {
        loop {
            let waiting = self.lanes.iter_mut().filter(|lane| lane.next <= lane.samples);
            let Some(lane) = waiting.min_by_key(|lane| lane.due) else { return Ok(None) };
            let unfit = |what: String| FileError::Unfit { path: self.path.clone(), what };
            let sample = self.reader.read_sample(lane.number, lane.next);
            let Some(sample) = sample.map_err(|error| unfit(format!("sample {}: {error}", lane.next)))? else {
                lane.samples = 0;
                continue;
            };
            lane.next += 1;
            let scale = lane.track.timescale;
            let start = i64::try_from(sample.start_time).unwrap_or(i64::MAX).saturating_sub(lane.zero);
            let duration = MediaDuration::new(u64::from(sample.duration), scale);
            let this = MediaTime::new(start, scale);
            lane.due = this.plus(duration);
            let dts = this.plus(self.passed);
            let shown = dts.ticks().saturating_add(i64::from(sample.rendering_offset.max(0)));
            let (data, random_access) = match lane.track.codec {
                Codec::H264 { .. } => {
                    let found = nal::normalize(&sample.bytes, lane.length_size, Kind::H264)
                        .map_err(|error| unfit(format!("picture {}: {error}", lane.next - 1)))?;
                    (found.data, found.random_access)
                }
                _ => (sample.bytes, true),
            };
            if data.is_empty() {
                continue;
            }
            return Ok(Some(AccessUnit {
                track: lane.track.id,
                dts,
                pts: MediaTime::new(shown, scale),
                duration: Some(duration),
                random_access,
                data,
                received,
            }));
        }
    }

    /// Back to the start, where the longest track ended.
    pub(super) fn rewind(&mut self) {
        // From the first decoding time to the last, on the track that takes longest.
        let length = |lane: &Lane| lane.due.since(MediaTime::new(-lane.zero, lane.track.timescale));
        let longest = self.lanes.iter().filter_map(length).max();
        self.passed = self.passed.plus(longest.unwrap_or(MediaDuration::zero(Timescale::MICROS)));
        for lane in &mut self.lanes {
            lane.next = 1;
            lane.due = MediaTime::new(-lane.zero, lane.track.timescale);
        }
    }
}

/// The track's codec and the bytes before each NAL unit; `None` for one of another kind.
fn coded(track: &Mp4Track) -> Option<Result<(Codec, usize), BitstreamError>> {
    let entry = &track.trak.mdia.minf.stbl.stsd;
    if let Some(avc1) = &entry.avc1 {
        let avcc = &avc1.avcc;
        let sps: Vec<_> = avcc.sequence_parameter_sets.iter().map(|set| Bytes::copy_from_slice(&set.bytes)).collect();
        let pps: Vec<_> = avcc.picture_parameter_sets.iter().map(|set| Bytes::copy_from_slice(&set.bytes)).collect();
        let config = h264::config(&sps, &pps);
        let length_size = usize::from(avcc.length_size_minus_one & 3) + 1;
        let matrix = &track.trak.tkhd.matrix;
        let rotation = Rotation::from_matrix(matrix.a, matrix.b);
        return Some(config.and_then(h264::codec).map(|codec| (codec.with_rotation(rotation), length_size)));
    }
    let specific = &entry.mp4a.as_ref()?.esds.as_ref()?.es_desc.dec_config.dec_specific;
    let bits =
        u16::from(specific.profile) << 11 | u16::from(specific.freq_index) << 7 | u16::from(specific.chan_conf) << 3;
    Some(aac::codec(Bytes::copy_from_slice(&bits.to_be_bytes())).map(|codec| (codec, 4)))
}

/// Where the first edit that shows anything begins (§ 8.6.6).
fn edit_start(track: &Mp4Track) -> i64 {
    let list = track.trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    let shown = list.and_then(|list| {
        let empty = |time: u64| time == u64::MAX || time == u64::from(u32::MAX);
        list.entries.iter().find(|entry| !empty(entry.media_time))
    });
    shown.and_then(|entry| i64::try_from(entry.media_time).ok()).unwrap_or_default()
}
