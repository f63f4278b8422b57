//! AAC: `AudioSpecificConfig` (ISO/IEC 14496-3 § 1.6.2.1), with both explicit signallings of SBR and PS.

use bytes::Bytes;

use super::BitstreamError;
use super::bits::Bits;
use crate::media::{Aac, AudioFormat, Codec};

const SBR: u32 = 5;
const PS: u32 = 29;
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The codec that an `AudioSpecificConfig` describes. The sample rate is the core coder's, the channels are those that
/// are heard.
pub fn codec(config: Bytes) -> Result<Codec, BitstreamError> {
    let bits = &mut Bits::new(&config);
    let mut object_type = object_type(bits)?;
    let sample_rate = sample_rate(bits)?;
    let channel_config = bits.u(4)?;
    let mut core = object_type;
    if matches!(object_type, SBR | PS) {
        self::sample_rate(bits)?;
        core = self::object_type(bits)?;
    }
    if !matches!(core, 1 | 2 | 3 | 4 | 17 | 20 | 23) {
        return Err(bits.error("this is no AAC: the audio object type is another codec's"));
    }
    if bits.flag()? {
        return Err(bits.error("AAC frames of 960 samples are not supported"));
    }
    if bits.flag()? {
        bits.skip(14)?; // coreCoderDelay
    }
    bits.skip(1)?; // extensionFlag
    let mut channels = match channel_config {
        0 => program_config(bits)?,
        1..=6 => u16::try_from(channel_config).unwrap_or_default(),
        7 | 12 | 14 => 8,
        11 => 7,
        _ => return Err(bits.error("the channel configuration is reserved")),
    };
    if core == object_type {
        // A decoder that does not know the extension stops before it: it is not an error for it to be cut short.
        object_type = extension(bits).unwrap_or(None).unwrap_or(object_type);
    }
    if object_type == PS {
        channels = 2;
    }
    let object_type = u8::try_from(object_type).unwrap_or_default();
    let audio = AudioFormat { sample_rate, channels };
    Ok(Codec::Aac(Aac { config, object_type, audio }))
}

fn object_type(bits: &mut Bits<'_>) -> Result<u32, BitstreamError> {
    match bits.u(5)? {
        31 => Ok(32 + bits.u(6)?),
        known => Ok(known),
    }
}

fn sample_rate(bits: &mut Bits<'_>) -> Result<u32, BitstreamError> {
    let rate = match bits.u(4)? {
        15 => bits.u(24)?,
        index => usize::try_from(index).ok().and_then(|at| RATES.get(at).copied()).unwrap_or_default(),
    };
    if rate == 0 { Err(bits.error("the sampling frequency is reserved or zero")) } else { Ok(rate) }
}

/// The backward compatible signalling, behind what an AAC-LC decoder reads.
fn extension(bits: &mut Bits<'_>) -> Result<Option<u32>, BitstreamError> {
    if bits.left() < 16 || bits.u(11)? != 0x2B7 || object_type(bits)? != SBR || !bits.flag()? {
        return Ok(None);
    }
    sample_rate(bits)?;
    let ps = bits.left() >= 12 && bits.u(11)? == 0x548 && bits.flag()?;
    Ok(Some(if ps { PS } else { SBR }))
}

/// § 4.4.1.1, for how many channels there are.
fn program_config(bits: &mut Bits<'_>) -> Result<u16, BitstreamError> {
    bits.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let (front, side, back) = (bits.u(4)?, bits.u(4)?, bits.u(4)?);
    let (low_frequency, data, coupling) = (bits.u(2)?, bits.u(3)?, bits.u(4)?);
    for present in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(present)?; // mixdowns
        }
    }
    let mut channels = low_frequency;
    for _ in 0..front + side + back {
        channels += if bits.flag()? { 2 } else { 1 };
        bits.skip(4)?;
    }
    bits.skip(usize::try_from(4 * low_frequency + 4 * data + 5 * coupling).unwrap_or_default())?;
    bits.skip(bits.left() % 8)?;
    let comment = usize::from(bits.byte()?);
    bits.skip(8 * comment)?;
    u16::try_from(channels).ok().filter(|&channels| channels != 0).ok_or_else(|| bits.error("AAC of no channel"))
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    fn read(config: &str) -> (u8, u32, u16) {
        let Codec::Aac(aac) = codec(hex(config)).unwrap() else { panic!("not AAC") };
        (aac.object_type, aac.audio.sample_rate, aac.audio.channels)
    }

    #[test]
    fn aac_lc_is_read_as_ffmpeg_writes_it() {
        assert_eq!(read("11b056e500"), (2, 48_000, 6));
        assert_eq!(read("120856e500"), (2, 44_100, 1));
        assert_eq!(read("1210"), (2, 44_100, 2));
    }

    #[test]
    fn he_aac_is_announced_and_its_clock_is_the_core_coders() {
        // 5, 24 kHz, stereo, 48 kHz, 2.
        assert_eq!(read("2b118800"), (5, 24_000, 2));
        // 29, 24 kHz, mono, 48 kHz, 2: parametric stereo makes two of it.
        assert_eq!(read("eb098800"), (29, 24_000, 2));
        // 2, 24 kHz, stereo, then the sync extension with 48 kHz.
        assert_eq!(read("131056e598"), (5, 24_000, 2));
    }

    #[test]
    fn what_is_no_aac_of_1024_samples_is_refused() {
        assert!(codec(hex("")).is_err());
        assert!(codec(hex("1f")).is_err());
        assert_eq!(codec(hex("1214")).unwrap_err().what, "AAC frames of 960 samples are not supported");
        assert!(codec(hex("f84000")).is_err());
    }
}
