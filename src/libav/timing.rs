//! The frame rate that parameter sets announce.

use std::ffi::{CString, c_int};
use std::ptr;

use ffmpeg_next::ffi;

use super::Error;
use super::decoder::padded;
use crate::media::FrameRate;

/// Rewrites the timing of H.264 parameter sets (Annex B). An encoder whose clock ticks 90000 times a second announces
/// 90000 pictures a second otherwise, which some players believe. `None` when this libavcodec cannot.
pub(super) fn announce(annex_b: &[u8], rate: FrameRate) -> Result<Option<Vec<u8>>, Error> {
    // SAFETY: a NUL-terminated name.
    let filter = unsafe { ffi::av_bsf_get_by_name(c"h264_metadata".as_ptr()) };
    if filter.is_null() {
        return Ok(None);
    }
    let mut context = Context(ptr::null_mut());
    // SAFETY: the filter was found; the result is checked.
    if unsafe { ffi::av_bsf_alloc(filter, &raw mut context.0) } < 0 {
        return Err(Error::OutOfMemory);
    }
    // SAFETY: the context belongs to us alone.
    let raw = unsafe { &mut *context.0 };
    // SAFETY: `av_bsf_alloc` made it, and nobody else knows it.
    let input = unsafe { &mut *raw.par_in };
    input.codec_type = ffi::AVMediaType::AVMEDIA_TYPE_VIDEO;
    input.codec_id = ffi::AVCodecID::AV_CODEC_ID_H264;
    input.extradata = padded(annex_b)?;
    input.extradata_size = c_int::try_from(annex_b.len()).unwrap_or_default();
    // A picture is two fields: two ticks.
    let ticks = CString::new(format!("{}/{}", u64::from(rate.numerator) * 2, rate.denominator)).unwrap_or_default();
    // SAFETY: the private data is an object with options; both texts end with NUL.
    let set = unsafe { ffi::av_opt_set(raw.priv_data, c"tick_rate".as_ptr(), ticks.as_ptr(), 0) };
    // SAFETY: parameters and options are set.
    if set < 0 || unsafe { ffi::av_bsf_init(context.0) } < 0 {
        return Ok(None);
    }
    // SAFETY: `av_bsf_init` filled it, and nobody else knows it.
    let output = unsafe { &*raw.par_out };
    let length = usize::try_from(output.extradata_size).unwrap_or_default();
    if output.extradata.is_null() || length == 0 {
        return Ok(None);
    }
    // SAFETY: libav says how long it is; it lives as long as the context.
    Ok(Some(unsafe { std::slice::from_raw_parts(output.extradata, length) }.to_vec()))
}

struct Context(*mut ffi::AVBSFContext);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours, or null, which is allowed.
        unsafe { ffi::av_bsf_free(&raw mut self.0) };
    }
}
