//! libav's log, routed into `tracing`.

use std::ffi::{c_char, c_int, c_void};

use ffmpeg_next::ffi;

/// What libav calls an error is mostly a publisher's broken picture: our own code counts and says that once. The rest
/// is for whoever turns `libav=debug` on.
pub(super) fn route() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `forward` has the signature that libav wants and may be called from any thread.
    unsafe {
        ffi::av_log_set_callback(Some(forward));
    }
    // Elsewhere C's argument lists have types that Rust cannot name on all of them: libav keeps quiet.
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: sets a global integer.
    unsafe {
        ffi::av_log_set_level(ffi::AV_LOG_QUIET);
    }
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn forward(
    context: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: *mut ffi::__va_list_tag,
) {
    let fatal = level <= ffi::AV_LOG_FATAL;
    if level > ffi::AV_LOG_WARNING || !(fatal || tracing::enabled!(target: "libav", tracing::Level::DEBUG)) {
        return;
    }
    let mut line = [0_u8; 512];
    let mut prefix: c_int = 1;
    // SAFETY: libav passes its own context, format and arguments; the line is as long as said, and gets its NUL.
    let written = unsafe {
        ffi::av_log_format_line2(context, level, format, arguments, line.as_mut_ptr().cast(), 512, &raw mut prefix)
    };
    let length = usize::try_from(written).unwrap_or_default().min(line.len() - 1);
    let text = String::from_utf8_lossy(&line[..length]);
    let text = text.trim_end();
    if fatal {
        tracing::error!(target: "libav", "{text}");
    } else {
        tracing::debug!(target: "libav", "{text}");
    }
}
