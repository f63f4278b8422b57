//! Dolby Digital: `syncinfo` and `bsi` of a frame (ETSI TS 102 366 § 4.4.1, § 4.4.2).

use super::BitstreamError;
use super::bits::Bits;
use crate::media::{AudioFormat, Codec};

/// `acmod`: channels without the low-frequency one.
pub(super) const CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
pub(super) const RATES: [u32; 3] = [48_000, 44_100, 32_000];

/// The codec of a stream that has this frame.
pub fn codec(frame: &[u8]) -> Result<Codec, BitstreamError> {
    let bits = &mut Bits::new(frame);
    sync(bits)?;
    bits.skip(16)?; // crc1
    let sample_rate = rate(bits)?;
    bits.skip(6)?; // frmsizecod
    if bits.u(5)? > 10 {
        return Err(bits.error("this is no AC-3 frame: its bsid is above 10"));
    }
    bits.skip(3)?; // bsmod
    let mode = bits.u(3)?;
    if mode & 1 == 1 && mode != 1 {
        bits.skip(2)?; // cmixlev
    }
    if mode & 4 == 4 {
        bits.skip(2)?; // surmixlev
    }
    if mode == 2 {
        bits.skip(2)?; // dsurmod
    }
    let channels = channels(mode, bits.flag()?);
    Ok(Codec::Ac3 { audio: AudioFormat { sample_rate, channels } })
}

pub(super) fn sync(bits: &mut Bits<'_>) -> Result<(), BitstreamError> {
    if bits.u(16)? == 0x0B77 { Ok(()) } else { Err(bits.error("the frame does not begin with the Dolby sync word")) }
}

pub(super) fn rate(bits: &mut Bits<'_>) -> Result<u32, BitstreamError> {
    let code = usize::try_from(bits.u(2)?).unwrap_or(usize::MAX);
    RATES.get(code).copied().ok_or_else(|| bits.error("the sample rate code is reserved"))
}

pub(super) fn channels(mode: u32, low_frequency: bool) -> u16 {
    let mode = usize::try_from(mode).unwrap_or(usize::MAX);
    CHANNELS.get(mode).copied().unwrap_or(2) + u16::from(low_frequency)
}

#[cfg(test)]
mod tests {
    use super::super::{eac3, flac, hex, mp3, opus};
    use super::*;

    #[test]
    fn parameters_of_ffmpegs_frames_and_headers_are_read() {
        let audio = |sample_rate, channels| AudioFormat { sample_rate, channels };
        // 5.1, 48 kHz.
        assert_eq!(codec(&hex("0b77b50b1e40ebf8403eff99ff0841fc")).unwrap().audio(), Some(&audio(48_000, 6)));
        // Stereo, 44.1 kHz.
        assert_eq!(eac3::codec(&hex("0b7701a07487c0002084010039c0ae06")).unwrap().audio(), Some(&audio(44_100, 2)));
        assert_eq!(mp3::codec(&hex("fff3700000000000")).unwrap().audio(), Some(&audio(22_050, 2)));
        let flac =
            flac::codec(&hex("664c614300000022120012000004f70005670ac442f00000227447a8bdc104009b7485185e039ef921e8"));
        assert_eq!(flac.unwrap().audio(), Some(&audio(44_100, 2)));
        let Codec::Opus { config, audio: found } = opus::codec(hex("4f707573486561640102380180bb0000000000")).unwrap()
        else {
            panic!("not Opus")
        };
        assert_eq!((config.len(), found), (11, audio(48_000, 2)));
    }

    #[test]
    fn rubbish_is_an_error() {
        for rubbish in [&b""[..], b"\x0b\x77", &[0xFF; 20], &[0; 20]] {
            assert!(codec(rubbish).is_err());
            assert!(eac3::codec(rubbish).is_err());
            assert!(mp3::codec(rubbish).is_err());
            assert!(flac::codec(&bytes::Bytes::copy_from_slice(rubbish)).is_err());
            assert!(opus::codec(bytes::Bytes::copy_from_slice(rubbish)).is_err());
        }
    }
}
