//! CMAF chunks (`moof` + `mdat`): ISO/IEC 23000-19 § 7.3.2.3. The hot path: one allocation and one copy per chunk.

use bytes::Bytes;

use super::boxes::BoxWriter;
use super::init::TRACK_ID;

/// One sample of a chunk, on the track's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Until the next sample is decoded.
    pub duration: u32,
    /// From decoding to showing.
    pub composition_offset: i32,
    /// Decoding can begin here.
    pub sync: bool,
    /// The access unit.
    pub data: Bytes,
}

/// What a sample that can be decoded alone says of itself (§ 8.8.3.1): depends on no other.
const SYNC: u32 = 0x0200_0000;
/// Depends on others, and is no sync sample.
const NON_SYNC: u32 = 0x0101_0000;

/// A segment's brands: `msdh`, `msix` are DASH's, `cmfs` says CMAF segment.
fn segment_type(w: &mut BoxWriter) {
    w.boxed(*b"styp", |w| {
        w.put(b"msdh");
        w.u32(0);
        for brand in [b"msdh", b"msix", b"cmfs"] {
            w.put(brand);
        }
    });
}

/// A chunk with these samples, the first of them decoded at `decode_time`; with `begins_segment` a `styp` comes first.
/// `number` counts the chunks of a track (`mfhd`). Also returns where the first sample ends.
pub fn chunk(number: u32, decode_time: u64, samples: &[Sample], begins_segment: bool) -> (Bytes, u64) {
    let payload: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mut w = BoxWriter::with_capacity(payload + samples.len() * 16 + 160);
    if begins_segment {
        segment_type(&mut w);
    }
    let moof = w.position();
    let mut data_offset_at = 0;
    w.boxed(*b"moof", |w| {
        w.full(*b"mfhd", 0, 0, |w| w.u32(number));
        w.boxed(*b"traf", |w| {
            // Offsets count from this moof.
            w.full(*b"tfhd", 0, 0x02_0000, |w| w.u32(TRACK_ID));
            w.full(*b"tfdt", 1, 0, |w| w.u64(decode_time));
            // Data offset; duration, size, flags and composition offset of each sample.
            w.full(*b"trun", 1, 0x0000_0F01, |w| {
                w.u32(u32::try_from(samples.len()).expect("a segment has few samples"));
                data_offset_at = w.position();
                w.u32(0);
                for sample in samples {
                    w.u32(sample.duration);
                    w.u32(u32::try_from(sample.data.len()).expect("an access unit is bounded by ingest"));
                    w.u32(if sample.sync { SYNC } else { NON_SYNC });
                    w.u32(sample.composition_offset.cast_unsigned());
                }
            });
        });
    });
    let data_offset = u32::try_from(w.position() - moof + 8).expect("a header is small");
    w.patch_u32(data_offset_at, data_offset);
    w.u32(u32::try_from(payload + 8).expect("a chunk is far below 4 GiB: ingest bounds bytes per second"));
    w.put(b"mdat");
    let first_end = w.position() + samples.first().map_or(0, |sample| sample.data.len());
    for sample in samples {
        w.put(&sample.data);
    }
    (w.finish().into(), first_end as u64)
}
