//! Our own chunks read back into samples, for the views made of them. Not a general reader: MP4 from outside is the `mp4`
//! crate's business.

use bytes::Bytes;

use super::fragment::Sample;

/// A chunk's samples.
#[derive(Debug)]
pub struct Chunk {
    /// `tfdt`: decode time of the first sample, on the track's clock.
    pub decode_time: u64,
    /// In decoding order; their data are views of the chunk.
    pub samples: Vec<Sample>,
}

/// Why bytes are no chunk of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a chunk of ours: {0}")]
pub struct ReadError(&'static str);

/// The chunk in `bytes`, as [`chunk`](super::chunk) wrote it.
pub fn read_chunk(bytes: &Bytes) -> Result<Chunk, ReadError> {
    let (moof_at, moof) = find(bytes, 0, *b"moof").ok_or(ReadError("no moof"))?;
    let (_, traf) = find(moof, 0, *b"traf").ok_or(ReadError("no traf"))?;
    let (_, tfdt) = find(traf, 0, *b"tfdt").ok_or(ReadError("no tfdt"))?;
    let (_, trun) = find(traf, 0, *b"trun").ok_or(ReadError("no trun"))?;
    let decode_time = tfdt
        .get(4..12)
        .and_then(|field| field.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or(ReadError("short tfdt"))?;
    let word = |at: usize| {
        trun.get(at..at + 4)
            .and_then(|field| field.try_into().ok())
            .map(u32::from_be_bytes)
            .ok_or(ReadError("short trun"))
    };
    let count = word(4)? as usize;
    let mut at = moof_at + word(8)? as usize;
    let mut samples = Vec::with_capacity(count.min(trun.len() / 16));
    for index in 0..count {
        let row = 12 + index * 16;
        let size = word(row + 4)? as usize;
        if at + size > bytes.len() {
            return Err(ReadError("a sample lies beyond the end"));
        }
        samples.push(Sample {
            duration: word(row)?,
            composition_offset: word(row + 12)?.cast_signed(),
            sync: word(row + 8)? & 0x0001_0000 == 0,
            data: bytes.slice(at..at + size),
        });
        at += size;
    }
    Ok(Chunk { decode_time, samples })
}

/// The first box of this kind at or after `at`: where it begins and what is in it.
fn find(bytes: &[u8], mut at: usize, kind: [u8; 4]) -> Option<(usize, &[u8])> {
    loop {
        let size = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        let end = at.checked_add(size.max(8))?;
        if bytes.get(at + 4..at + 8)? == kind {
            return Some((at, bytes.get(at + 8..end)?));
        }
        at = end;
    }
}
