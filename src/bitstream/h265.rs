//! H.265: `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 § 8.3.3) and sequence parameter sets (ISO/IEC 23008-2
//! § 7.3.2.2, Annex E). Our own reader, because scuffle-h265's subtracts without looking and so panics on made-up sets.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::{Bits, unescape};
use super::h264::{cropped, sets_at};
use super::{BitstreamError, Usability, frame_rate, nal};
use crate::media::{Codec, FrameRate, Rotation, VideoFormat};

/// What a configuration record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSets {
    /// Video parameter sets: NAL units without start code or length.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets, likewise.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, likewise.
    pub pps: Vec<Bytes>,
    /// Bytes before each NAL unit that hold its length: 1, 2 or 4.
    pub length_size: usize,
}

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;

fn kind(nal: &[u8]) -> Option<u8> {
    nal.first().map(|first| first >> 1 & 0x3F)
}

/// The codec that a configuration record describes, after its first sequence parameter set.
pub fn codec(config: Bytes) -> Result<Codec, BitstreamError> {
    let sets = parameter_sets(&config)?;
    let sps = sets.sps.first().ok_or(BitstreamError::new(22, "the hvcC has no sequence parameter set"))?;
    let video = Sps::read(sps)?.video;
    Ok(Codec::H265 { config, video })
}

/// The parameter sets in a configuration record.
pub fn parameter_sets(config: &Bytes) -> Result<ParameterSets, BitstreamError> {
    let (Some(&[version]), Some(&length), Some(&arrays)) = (config.first_chunk(), config.get(21), config.get(22))
    else {
        return Err(BitstreamError::new(config.len(), "the hvcC ends too early"));
    };
    // Encoders before the standard was final wrote 0.
    if version > 1 {
        return Err(BitstreamError::new(0, "the hvcC's version is not 1"));
    }
    let length_size = usize::from(length & 3) + 1;
    if length_size == 3 {
        return Err(BitstreamError::new(21, "the hvcC wants NAL unit lengths of three bytes"));
    }
    let mut found = ParameterSets { vps: Vec::new(), sps: Vec::new(), pps: Vec::new(), length_size };
    let mut at = 23;
    for _ in 0..arrays {
        let &[kind, high, low] = config
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .ok_or_else(|| BitstreamError::new(at, "the configuration record ends too early"))?;
        at += 3;
        let sets = sets_at(config, &mut at, u16::from_be_bytes([high, low]))?;
        match kind & 0x3F {
            VPS => found.vps.extend(sets),
            SPS => found.sps.extend(sets),
            PPS => found.pps.extend(sets),
            _ => {} // SEI
        }
    }
    Ok(found)
}

/// A configuration record made of the parameter sets in a byte stream with start codes, such as libx265's extradata.
pub fn config_from_annexb(extradata: &[u8]) -> Result<Bytes, BitstreamError> {
    let mut sets = ParameterSets { vps: Vec::new(), sps: Vec::new(), pps: Vec::new(), length_size: 4 };
    for nal in nal::annex_b(extradata) {
        match kind(nal) {
            Some(VPS) => sets.vps.push(Bytes::copy_from_slice(nal)),
            Some(SPS) => sets.sps.push(Bytes::copy_from_slice(nal)),
            Some(PPS) => sets.pps.push(Bytes::copy_from_slice(nal)),
            _ => {}
        }
    }
    config(&sets)
}

/// A configuration record with 4-byte lengths, made of parameter sets.
pub fn config(sets: &ParameterSets) -> Result<Bytes, BitstreamError> {
    let first = sets.sps.first().ok_or(BitstreamError::new(0, "there is no sequence parameter set"))?;
    let sps = Sps::read(first)?;
    let mut record = BytesMut::with_capacity(128);
    record.put_u8(1);
    record.put_slice(&sps.profile_tier_level);
    record.put_u16(0xF000); // min_spatial_segmentation_idc: unknown
    record.put_u8(0xFC); // parallelismType: unknown
    record.put_slice(&[0xFC | sps.chroma_format, 0xF8 | sps.luma_depth, 0xF8 | sps.chroma_depth]);
    record.put_u16(0); // avgFrameRate: unknown
    record.put_u8((sps.temporal_layers & 7) << 3 | u8::from(sps.temporal_nested) << 2 | 3);
    let arrays = [(VPS, &sets.vps), (SPS, &sets.sps), (PPS, &sets.pps)];
    record.put_u8(u8::try_from(arrays.iter().filter(|(_, sets)| !sets.is_empty()).count()).unwrap_or_default());
    for (kind, sets) in arrays.iter().filter(|(_, sets)| !sets.is_empty()) {
        record.put_u8(0x80 | kind); // array_completeness: none of them stands between pictures
        let too_many = |_| BitstreamError::new(0, "too many parameter sets, or one of over 64 KiB");
        record.put_u16(u16::try_from(sets.len()).map_err(too_many)?);
        for set in *sets {
            record.put_u16(u16::try_from(set.len()).map_err(too_many)?);
            record.put_slice(set);
        }
    }
    Ok(record.freeze())
}

/// The record that fits parameter sets found between pictures: `None` when `config` holds them all already. A set of a
/// kind takes the place of all others of its kind: publishers use one of each.
pub fn updated(config: &Bytes, in_band: &[Bytes]) -> Result<Option<Bytes>, BitstreamError> {
    let mut sets = parameter_sets(config)?;
    let mut changed = false;
    for (number, kept) in [(VPS, &mut sets.vps), (SPS, &mut sets.sps), (PPS, &mut sets.pps)] {
        let new: Vec<_> = in_band.iter().filter(|set| kind(set) == Some(number)).collect();
        if new.iter().any(|set| !kept.contains(set)) {
            // Copies: a set must not keep a whole message alive.
            *kept = new.into_iter().map(|set| Bytes::copy_from_slice(set)).collect();
            changed = true;
        }
    }
    if changed { self::config(&sets).map(Some) } else { Ok(None) }
}

struct Sps {
    video: VideoFormat,
    /// `general_profile_space` to `general_level_idc`, as the record carries it.
    profile_tier_level: [u8; 12],
    chroma_format: u8,
    /// Bits of a sample, less eight.
    luma_depth: u8,
    chroma_depth: u8,
    temporal_layers: u8,
    temporal_nested: bool,
}

impl Sps {
    fn read(nal: &[u8]) -> Result<Self, BitstreamError> {
        if kind(nal) != Some(SPS) {
            return Err(BitstreamError::new(0, "this is no sequence parameter set"));
        }
        let small = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        let rbsp = unescape(nal);
        let bits = &mut Bits::new(&rbsp);
        bits.skip(16 + 4)?; // NAL unit header, sps_video_parameter_set_id
        let sub_layers = bits.u(3)?; // sps_max_sub_layers_minus1
        let temporal_nested = bits.flag()?;
        let mut profile_tier_level = [0; 12];
        for byte in &mut profile_tier_level {
            *byte = bits.byte()?;
        }
        sub_layer_levels(bits, sub_layers)?;
        bits.ue_to(15, "sps_seq_parameter_set_id above 15")?;
        let chroma_format = small(bits.ue_to(3, "chroma_format_idc above 3")?);
        let separate_planes = chroma_format == 3 && bits.flag()?;
        let columns = bits.ue_to(MOST_SAMPLES, "wider than 32768")?;
        let rows = bits.ue_to(MOST_SAMPLES, "higher than 32768")?;
        let unit = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let size = cropped(bits, (columns, rows), if separate_planes { (1, 1) } else { unit })?;
        let luma_depth = small(bits.ue_to(8, "more than 16 bits per sample")?);
        let chroma_depth = small(bits.ue_to(8, "more than 16 bits per sample")?);
        let mut usability = Usability::default();
        let mut rate = None;
        // Everything after this serves only to find the usability information: without it a stream plays as well.
        let _ = to_usability(bits, sub_layers).and_then(|present| {
            if present {
                usability.read(bits)?;
                rate = timing(bits)?;
            }
            Ok(())
        });
        let video = VideoFormat {
            size,
            sample_aspect: usability.sample_aspect.unwrap_or((1, 1)),
            frame_rate: rate,
            color: usability.color,
            rotation: Rotation::None,
        };
        let temporal_layers = small(sub_layers + 1);
        Ok(Self {
            video,
            profile_tier_level,
            chroma_format,
            luma_depth,
            chroma_depth,
            temporal_layers,
            temporal_nested,
        })
    }
}

/// 32768 columns or rows; level 6.2 ends at 16888.
const MOST_SAMPLES: u32 = 32_768;

/// § 7.3.3, after the general part; read over.
fn sub_layer_levels(bits: &mut Bits<'_>, sub_layers: u32) -> Result<(), BitstreamError> {
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        for _ in sub_layers..8 {
            bits.skip(2)?;
        }
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(())
}

/// § 7.3.2.2.1 from `log2_max_pic_order_cnt_lsb_minus4` to `vui_parameters_present_flag`, whose value it returns.
fn to_usability(bits: &mut Bits<'_>, sub_layers: u32) -> Result<bool, BitstreamError> {
    let order_count_bits = bits.ue_to(12, "log2_max_pic_order_cnt_lsb_minus4 above 12")? + 4;
    let all_sub_layers = bits.flag()?;
    for _ in 0..if all_sub_layers { sub_layers + 1 } else { 1 } {
        for _ in 0..3 {
            bits.ue()?; // sps_max_dec_pic_buffering_minus1, sps_max_num_reorder_pics, sps_max_latency_increase_plus1
        }
    }
    for _ in 0..6 {
        bits.ue()?; // coding and transform block sizes, transform hierarchy depths
    }
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag()? {
        bits.skip(8)?; // pcm bit depths
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    short_term_reference_pictures(bits)?;
    if bits.flag()? {
        for _ in 0..bits.ue_to(32, "more than 32 long-term reference pictures")? {
            bits.u(order_count_bits)?;
            bits.skip(1)?;
        }
    }
    bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    bits.flag()
}

/// § 7.3.4, read over.
fn scaling_lists(bits: &mut Bits<'_>) -> Result<(), BitstreamError> {
    for size in 0..4_u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size > 1 {
                bits.se()?; // scaling_list_dc_coef_minus8
            }
            for _ in 0..64.min(1_u32 << (4 + 2 * size)) {
                bits.se()?;
            }
        }
    }
    Ok(())
}

/// § 7.3.7 for every set, read over: only how many pictures a set has matters, as the next set may be told by it.
fn short_term_reference_pictures(bits: &mut Bits<'_>) -> Result<(), BitstreamError> {
    let mut pictures = 0;
    for set in 0..bits.ue_to(64, "more than 64 short-term reference picture sets")? {
        if set != 0 && bits.flag()? {
            bits.skip(1)?; // delta_rps_sign
            bits.ue()?; // abs_delta_rps_minus1
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = bits.flag()?;
                if used || bits.flag()? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            let before = bits.ue_to(16, "more than 16 reference pictures")?;
            let after = bits.ue_to(16, "more than 16 reference pictures")?;
            pictures = before + after;
            for _ in 0..pictures {
                bits.ue()?; // delta_poc_s0_minus1, delta_poc_s1_minus1
                bits.skip(1)?; // used_by_curr_pic
            }
        }
    }
    Ok(())
}

/// § E.2.1 from `neutral_chroma_indication_flag` on: here a tick is a picture.
fn timing(bits: &mut Bits<'_>) -> Result<Option<FrameRate>, BitstreamError> {
    bits.skip(3)?; // neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
    if bits.flag()? {
        for _ in 0..4 {
            bits.ue()?; // default display window
        }
    }
    if !bits.flag()? {
        return Ok(None);
    }
    let (units, scale) = (bits.u(32)?, bits.u(32)?);
    Ok(frame_rate(u64::from(scale), u64::from(units)))
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;
    use crate::media::Size;
    use proptest::prelude::*;

    /// libx265, 640x360 at 50, samples of 4:3, ten bits; its SEI array taken away.
    const HVCC: &str = "0102200000009000000000005af000fcfdfafa00000f03200001001840010c01ffff02200000030090000003000003005a959809210001002b42010102200000030090000003000003005aa005020169365959a4932bc39a02000003000200000300641022000100074401c172b46240";
    /// libx265, 638x358 at 24.
    const ANNEX_B: &str = "00000001 40010c01ffff01600000030090000003000003003f959809 \
        00000001 42010101600000030090000003000003003fa005020169d565959a4932bc05a02000000300200000030301 \
        00000001 4401c172b46240";

    #[test]
    fn size_and_rate_are_read_from_a_record() {
        let codec = codec(hex(HVCC)).unwrap();
        assert_eq!(codec.rfc6381(), "hvc1.2.4.L90.90");
        let video = codec.video().unwrap();
        assert_eq!((video.size, video.sample_aspect), (Size { width: 640, height: 360 }, (4, 3)));
        assert_eq!(video.frame_rate, Some(FrameRate { numerator: 50, denominator: 1 }));
    }

    #[test]
    fn a_record_is_made_of_the_parameter_sets_of_a_byte_stream() {
        let config = config_from_annexb(&hex(ANNEX_B)).unwrap();
        let sets = parameter_sets(&config).unwrap();
        assert_eq!((sets.vps.len(), sets.sps.len(), sets.pps.len(), sets.length_size), (1, 1, 1, 4));
        let codec = codec(config).unwrap();
        assert_eq!(codec.rfc6381(), "hvc1.1.6.L63.90");
        let video = codec.video().unwrap();
        assert_eq!(video.size, Size { width: 638, height: 358 });
        assert_eq!(video.frame_rate, Some(FrameRate { numerator: 24, denominator: 1 }));
    }

    #[test]
    fn a_record_that_is_taken_apart_and_made_again_keeps_what_matters() {
        let given = hex(HVCC);
        let made = config(&parameter_sets(&given).unwrap()).unwrap();
        assert_eq!(made[..13], given[..13], "profile, tier and level");
        assert_eq!(made[16..19], given[16..19], "chroma and depth");
        assert_eq!(parameter_sets(&made).unwrap(), parameter_sets(&given).unwrap());
    }

    #[test]
    fn only_parameter_sets_that_differ_make_a_new_record() {
        let config = config_from_annexb(&hex(ANNEX_B)).unwrap();
        let same = parameter_sets(&config).unwrap().sps;
        assert_eq!(updated(&config, &same).unwrap(), None);
        let other = parameter_sets(&hex(HVCC)).unwrap();
        let new = updated(&config, &other.sps).unwrap().unwrap();
        assert_eq!(codec(new).unwrap().video().unwrap().size, Size { width: 640, height: 360 });
    }

    #[test]
    fn cut_records_are_errors() {
        let whole = hex(HVCC);
        for length in 0..whole.len() {
            assert!(parameter_sets(&whole.slice(..length)).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn made_up_sets_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut sps = hex("42010101600000030090000003000003003f").to_vec();
            sps.extend(bytes);
            let _ = Sps::read(&sps);
        }
    }
}
