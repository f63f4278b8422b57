//! H.264: `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 § 5.3.3) and sequence parameter sets (ISO/IEC 14496-10
//! § 7.3.2.1.1, Annex E). Our own reader, because h264-reader's panics on an empty parameter set in a record and refuses
//! pictures that are larger than their level allows, which cameras send.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::{Bits, unescape};
use super::nal;
use super::{BitstreamError, Usability, frame_rate};
use crate::media::{Codec, FrameRate, Rotation, Size, VideoFormat};

/// What a configuration record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSets {
    /// Sequence parameter sets: NAL units without start code or length.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, likewise.
    pub pps: Vec<Bytes>,
    /// Bytes before each NAL unit that hold its length: 1, 2 or 4.
    pub length_size: usize,
}

/// The codec that a configuration record describes, after its first sequence parameter set.
pub fn codec(config: Bytes) -> Result<Codec, BitstreamError> {
    let sets = parameter_sets(&config)?;
    let sps = sets.sps.first().ok_or(BitstreamError::new(5, "the avcC has no sequence parameter set"))?;
    let video = Sps::read(sps)?.video;
    Ok(Codec::H264 { config, video })
}

/// The parameter sets in a configuration record.
pub fn parameter_sets(config: &Bytes) -> Result<ParameterSets, BitstreamError> {
    let &[version, _, _, _, length, count, ..] = config.as_ref() else {
        return Err(BitstreamError::new(config.len(), "the avcC ends too early"));
    };
    if version != 1 {
        return Err(BitstreamError::new(0, "the avcC's version is not 1"));
    }
    let length_size = usize::from(length & 3) + 1;
    if length_size == 3 {
        return Err(BitstreamError::new(4, "the avcC wants NAL unit lengths of three bytes"));
    }
    let mut at = 6;
    let sps = sets_at(config, &mut at, count & 0x1F)?;
    let count = config.get(at).copied().ok_or_else(|| cut(at))?;
    at += 1;
    let pps = sets_at(config, &mut at, count)?;
    Ok(ParameterSets { sps, pps, length_size })
}

/// A configuration record made of the parameter sets in a byte stream with start codes, such as libx264's extradata.
pub fn config_from_annexb(extradata: &[u8]) -> Result<Bytes, BitstreamError> {
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    for nal in nal::annex_b(extradata) {
        match nal.first().map(|first| first & 0x1F) {
            Some(7) => sps.push(Bytes::copy_from_slice(nal)),
            Some(8) => pps.push(Bytes::copy_from_slice(nal)),
            _ => {}
        }
    }
    config(&sps, &pps)
}

/// A configuration record with 4-byte lengths, made of parameter sets without start codes.
pub fn config(sps: &[Bytes], pps: &[Bytes]) -> Result<Bytes, BitstreamError> {
    let first = sps.first().ok_or(BitstreamError::new(0, "there is no sequence parameter set"))?;
    let &[_, profile, constraints, level, ..] = first.as_ref() else {
        return Err(BitstreamError::new(0, "the sequence parameter set ends too early"));
    };
    let mut record = BytesMut::with_capacity(64);
    let many = |count: usize, most: usize| {
        u8::try_from(count.min(most)).map_err(|_| BitstreamError::new(0, "too many parameter sets"))
    };
    record.put_slice(&[1, profile, constraints, level, 0xFC | 3, 0xE0 | many(sps.len(), 31)?]);
    put_sets(&mut record, sps, 31)?;
    record.put_u8(many(pps.len(), 255)?);
    put_sets(&mut record, pps, 255)?;
    if has_chroma_fields(profile) {
        let chroma = Sps::read(first)?.chroma;
        record.put_slice(&[0xFC | chroma.format, 0xF8 | chroma.luma_depth, 0xF8 | chroma.chroma_depth, 0]);
    }
    Ok(record.freeze())
}

/// The record that fits parameter sets found between pictures: `None` when `config` holds them all already.
pub fn updated(config: &Bytes, in_band: &[Bytes]) -> Result<Option<Bytes>, BitstreamError> {
    let known = parameter_sets(config)?;
    let (mut sps, mut pps) = (known.sps, known.pps);
    let mut changed = false;
    for set in in_band {
        let (sets, id): (&mut Vec<Bytes>, _) = match set.first().map(|first| first & 0x1F) {
            Some(7) => (&mut sps, sps_id(set)?),
            Some(8) => (&mut pps, pps_id(set)?),
            _ => continue,
        };
        if sets.contains(set) {
            continue;
        }
        let is_sps = set.first().is_some_and(|first| first & 0x1F == 7);
        let id_of = |set: &Bytes| if is_sps { sps_id(set) } else { pps_id(set) };
        // A copy: the set must not keep a whole message alive.
        let set = Bytes::copy_from_slice(set);
        match sets.iter_mut().find(|other| id_of(other) == Ok(id)) {
            Some(other) => *other = set,
            None => sets.push(set),
        }
        changed = true;
    }
    if changed { self::config(&sps, &pps).map(Some) } else { Ok(None) }
}

fn cut(at: usize) -> BitstreamError {
    BitstreamError::new(at, "the configuration record ends too early")
}

fn sps_id(nal: &[u8]) -> Result<u32, BitstreamError> {
    let rbsp = unescape(nal);
    let mut bits = Bits::new(&rbsp);
    bits.skip(32)?;
    bits.ue()
}

fn pps_id(nal: &[u8]) -> Result<u32, BitstreamError> {
    let rbsp = unescape(nal);
    let mut bits = Bits::new(&rbsp);
    bits.skip(8)?;
    bits.ue()
}

fn put_sets(record: &mut BytesMut, sets: &[Bytes], most: usize) -> Result<(), BitstreamError> {
    for set in sets.iter().take(most) {
        let length = u16::try_from(set.len()).map_err(|_| BitstreamError::new(0, "a parameter set of over 64 KiB"))?;
        record.put_u16(length);
        record.put_slice(set);
    }
    Ok(())
}

/// Profiles whose sequence parameter sets and records tell chroma and bit depth.
fn has_chroma_fields(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

struct Sps {
    video: VideoFormat,
    chroma: Chroma,
}

struct Chroma {
    format: u8,
    /// Bits of a sample, less eight.
    luma_depth: u8,
    chroma_depth: u8,
}

impl Sps {
    fn read(nal: &[u8]) -> Result<Self, BitstreamError> {
        if nal.first().map(|first| first & 0x1F) != Some(7) {
            return Err(BitstreamError::new(0, "this is no sequence parameter set"));
        }
        let rbsp = unescape(nal);
        let bits = &mut Bits::new(&rbsp);
        bits.skip(8)?;
        let profile = bits.byte()?;
        bits.skip(16)?; // constraints, level_idc
        bits.ue_to(31, "seq_parameter_set_id above 31")?;
        let mut chroma = Chroma { format: 1, luma_depth: 0, chroma_depth: 0 };
        let mut separate_planes = false;
        if has_chroma_fields(profile) {
            let small = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
            chroma.format = small(bits.ue_to(3, "chroma_format_idc above 3")?);
            if chroma.format == 3 {
                separate_planes = bits.flag()?;
            }
            chroma.luma_depth = small(bits.ue_to(6, "more than 14 bits per sample")?);
            chroma.chroma_depth = small(bits.ue_to(6, "more than 14 bits per sample")?);
            bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                scaling_lists(bits, if chroma.format == 3 { 12 } else { 8 })?;
            }
        }
        bits.ue()?; // log2_max_frame_num_minus4
        match bits.ue_to(2, "pic_order_cnt_type above 2")? {
            0 => {
                bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                bits.skip(1)?; // delta_pic_order_always_zero_flag
                bits.se()?; // offset_for_non_ref_pic
                bits.se()?; // offset_for_top_to_bottom_field
                for _ in 0..bits.ue_to(255, "more than 255 frames in a picture order count cycle")? {
                    bits.se()?;
                }
            }
            _ => {}
        }
        bits.ue()?; // max_num_ref_frames
        bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
        let columns = 16 * (bits.ue_to(MOST_MACROBLOCKS, "wider than 32768")? + 1);
        let map_units = bits.ue_to(MOST_MACROBLOCKS, "higher than 32768")? + 1;
        let frames_only = bits.flag()?;
        let rows = 16 * map_units * if frames_only { 1 } else { 2 };
        if !frames_only {
            bits.skip(1)?; // mb_adaptive_frame_field_flag
        }
        bits.skip(1)?; // direct_8x8_inference_flag
        // Table 6-1; § 7.4.2.1.1: CropUnitX, CropUnitY.
        let (across, down) = match chroma.format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let (across, down) = if separate_planes { (1, 1) } else { (across, down) };
        let size = cropped(bits, (columns, rows), (across, down * if frames_only { 1 } else { 2 }))?;
        let mut usability = Usability::default();
        let mut rate = None;
        if bits.flag()? {
            // Encoders cut it short and pad it oddly; what can be read is taken, a picture's size is all that is needed.
            let _ = usability.read(bits).and_then(|()| timing(bits).map(|found| rate = found));
        }
        let video = VideoFormat {
            size,
            sample_aspect: usability.sample_aspect.unwrap_or((1, 1)),
            frame_rate: rate,
            color: usability.color,
            rotation: Rotation::None,
        };
        Ok(Self { video, chroma })
    }
}

/// 32768 columns or rows. Level 6.2 ends at 8192 and something.
const MOST_MACROBLOCKS: u32 = 2047;

/// `frame_cropping_flag` and what follows it; `unit` is what an offset of one takes away.
pub(super) fn cropped(bits: &mut Bits<'_>, coded: (u32, u32), unit: (u32, u32)) -> Result<Size, BitstreamError> {
    let mut taken = (0, 0);
    if bits.flag()? {
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        taken = (left.saturating_add(right).saturating_mul(unit.0), top.saturating_add(bottom).saturating_mul(unit.1));
    }
    let nothing_left = || bits.error("cropping leaves no picture");
    let left = |coded: u32, taken: u32| coded.checked_sub(taken).filter(|&left| left != 0).ok_or_else(nothing_left);
    Ok(Size { width: left(coded.0, taken.0)?, height: left(coded.1, taken.1)? })
}

/// § 7.3.2.1.1.1, read over.
fn scaling_lists(bits: &mut Bits<'_>, count: usize) -> Result<(), BitstreamError> {
    for list in 0..count {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Ok(())
}

/// § E.1.1: a tick is a field, so that two of them make a picture.
fn timing(bits: &mut Bits<'_>) -> Result<Option<FrameRate>, BitstreamError> {
    if !bits.flag()? {
        return Ok(None);
    }
    let (units, scale) = (bits.u(32)?, bits.u(32)?);
    Ok(frame_rate(u64::from(scale), 2 * u64::from(units)))
}

/// NAL units after 16-bit lengths, from `at` on.
pub(super) fn sets_at(config: &Bytes, at: &mut usize, count: impl Into<usize>) -> Result<Vec<Bytes>, BitstreamError> {
    let mut sets = Vec::new();
    for _ in 0..count.into() {
        let &length = config.get(*at..).and_then(<[u8]>::first_chunk::<2>).ok_or_else(|| cut(*at))?;
        let start = *at + 2;
        let end = start + usize::from(u16::from_be_bytes(length));
        let set = config.get(start..end).ok_or_else(|| cut(*at))?;
        if !set.is_empty() {
            sets.push(config.slice_ref(set));
        }
        *at = end;
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;
    use crate::media::{Color, Size};
    use proptest::prelude::*;

    /// libx264, 1920x1080 at 30000/1001, BT.709.
    const AVCC: &str = "0142c028ffe1001b6742c028da01e0089f97016a020202800001f480007530078c195001000468ce0fc8";
    /// libx264, 720x576 at 25, samples of 16:11, high profile.
    const ANNEX_B: &str = "00000001 6764001eacd940b4126c1040000003004000000c83c58b6580 00000001 68ebe3cb22c0";

    #[test]
    fn size_rate_and_colour_are_read_from_a_record() {
        let Codec::H264 { video, .. } = codec(hex(AVCC)).unwrap() else { panic!("not H.264") };
        assert_eq!(video.size, Size { width: 1920, height: 1080 });
        assert_eq!(video.frame_rate, Some(FrameRate { numerator: 30_000, denominator: 1_001 }));
        assert_eq!(video.color, Some(Color { primaries: 1, transfer: 1, matrix: 1, full_range: false }));
        assert_eq!(video.sample_aspect, (1, 1));
    }

    #[test]
    fn a_record_is_made_of_the_parameter_sets_of_a_byte_stream() {
        let config = config_from_annexb(&hex(ANNEX_B)).unwrap();
        let sets = parameter_sets(&config).unwrap();
        assert_eq!((sets.sps.len(), sets.pps.len(), sets.length_size), (1, 1, 4));
        assert!(config.ends_with(&[0xFD, 0xF8, 0xF8, 0]), "high profile tells chroma and depth");
        let codec = codec(config).unwrap();
        assert_eq!(codec.rfc6381(), "avc1.64001e");
        let video = codec.video().unwrap();
        assert_eq!((video.size, video.sample_aspect), (Size { width: 720, height: 576 }, (16, 11)));
        assert_eq!(video.frame_rate, Some(FrameRate { numerator: 25, denominator: 1 }));
    }

    #[test]
    fn only_parameter_sets_that_differ_make_a_new_record() {
        let config = config_from_annexb(&hex(ANNEX_B)).unwrap();
        let known = parameter_sets(&config).unwrap();
        let same: Vec<_> = known.sps.iter().chain(&known.pps).cloned().collect();
        assert_eq!(updated(&config, &same).unwrap(), None);
        let other = parameter_sets(&hex(AVCC)).unwrap();
        let new = updated(&config, &[other.sps[0].clone(), other.pps[0].clone()]).unwrap().unwrap();
        assert_eq!(parameter_sets(&new).unwrap(), other);
        assert_eq!(codec(new).unwrap().video().unwrap().size, Size { width: 1920, height: 1080 });
    }

    #[test]
    fn broken_records_are_errors() {
        let whole = hex(AVCC);
        for length in 0..whole.len() {
            assert!(codec(whole.slice(..length)).is_err(), "{length} bytes");
        }
        // An empty sequence parameter set.
        assert!(codec(hex("0142c028ffe1000000")).is_err());
    }

    proptest! {
        #[test]
        fn h264_reader_agrees_on_every_set_that_it_takes(change in prop::collection::vec((4_usize..40, any::<u8>()), 0..3)) {
            let mut config = hex(AVCC).to_vec();
            for (at, byte) in change {
                config[8 + at % 27] = byte;
            }
            let sps = &config[8..35];
            let ours = Sps::read(sps);
            let nal = h264_reader::nal::RefNal::new(sps, &[], true);
            let theirs = h264_reader::nal::sps::SeqParameterSet::from_bits(h264_reader::nal::Nal::rbsp_bits(&nal));
            if let Ok(theirs) = theirs && let Ok((width, height)) = theirs.pixel_dimensions() && sps[0] == 0x67 && width != 0 && height != 0 {
                prop_assert_eq!(ours.unwrap().video.size, Size { width, height });
            }
        }
    }
}
