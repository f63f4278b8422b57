//! Dolby Digital Plus: `syncinfo` and `bsi` of a frame (ETSI TS 102 366 Annex E § 2.2).

use super::BitstreamError;
use super::ac3::{RATES, channels, sync};
use super::bits::Bits;
use crate::media::{AudioFormat, Codec};

/// The codec of a stream that has this frame.
pub fn codec(frame: &[u8]) -> Result<Codec, BitstreamError> {
    let bits = &mut Bits::new(frame);
    sync(bits)?;
    bits.skip(2 + 3 + 11)?; // strmtyp, substreamid, frmsiz
    let code = bits.u(2)?;
    // Code 3 means half the rate, and then the next two bits are that rate instead of the number of blocks.
    let next = bits.u(2)?;
    let (index, halved) = if code == 3 { (next, 2) } else { (code, 1) };
    let sample_rate = usize::try_from(index).ok().and_then(|at| RATES.get(at)).map(|rate| rate / halved);
    let sample_rate = sample_rate.ok_or_else(|| bits.error("the sample rate code is reserved"))?;
    let mode = bits.u(3)?;
    let low_frequency = bits.flag()?;
    if !(11..=16).contains(&bits.u(5)?) {
        return Err(bits.error("this is no E-AC-3 frame: its bsid is not 11 to 16"));
    }
    Ok(Codec::Eac3 { audio: AudioFormat { sample_rate, channels: channels(mode, low_frequency) } })
}
