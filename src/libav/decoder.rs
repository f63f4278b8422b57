//! Access units to pictures and sound.

use std::ffi::c_int;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::{Id, threading};
use ffmpeg_next::ffi;

use super::{Error, Picture, Sound, answer};
use crate::media::{AccessUnit, Codec, Rotation, Timescale, Track};

/// A decoder of one track. After each [`send`](Self::send), take all that has come out.
pub struct Decoder {
    opened: ffmpeg::decoder::Opened,
    scale: Timescale,
    /// As the container says; pictures may say otherwise.
    rotation: Rotation,
}

impl Decoder {
    /// Opens the decoder of a track. Times go in and come out in ticks of `scale`; 0 `threads` are as many as cores.
    pub fn open(track: &Track, scale: Timescale, threads: usize) -> Result<Self, Error> {
        let (id, extradata) = parameters(&track.codec);
        let codec = ffmpeg::decoder::find(id).ok_or_else(|| Error::NoDecoder(track.codec.label()))?;
        let mut context = ffmpeg::codec::Context::new_with_codec(codec);
        context.set_threading(threading::Config {
            kind: if threads == 1 { threading::Type::None } else { threading::Type::Frame },
            count: threads,
            ..threading::Config::default()
        });
        // SAFETY: the pointer is used while `context` lives.
        let raw = unsafe { context.as_mut_ptr() };
        // SAFETY: a context that is not open belongs to us alone.
        let raw = unsafe { &mut *raw };
        raw.pkt_timebase = ffi::AVRational { num: 1, den: c_int::try_from(scale.get()).unwrap_or(c_int::MAX) };
        set_extradata(raw, &extradata)?;
        if let Some(audio) = track.codec.audio() {
            raw.sample_rate = c_int::try_from(audio.sample_rate).unwrap_or_default();
            // SAFETY: the layout is inside the context and empty so far.
            unsafe { ffi::av_channel_layout_default(&raw mut raw.ch_layout, c_int::from(audio.channels)) };
        }
        // Without the encoder's word on reordering libav guesses none and loses the first pictures that prove it wrong;
        // strict, it waits for as many as the level allows. Baseline (66) has no B-frames to wait for.
        let baseline = matches!(&track.codec, Codec::H264 { config, .. } if config.get(1) == Some(&66));
        if matches!(track.codec, Codec::H264 { .. }) && !baseline {
            raw.strict_std_compliance = ffi::FF_COMPLIANCE_STRICT;
        }
        let opened = context.decoder().open_as(codec).map_err(Error::refused("opening the decoder"))?;
        let rotation = track.codec.video().map_or(Rotation::None, |video| video.rotation);
        Ok(Self { opened, scale, rotation })
    }

    /// Decodes one access unit.
    pub fn send(&mut self, unit: &AccessUnit) -> Result<(), Error> {
        let mut packet = ffmpeg::Packet::copy(&unit.data);
        packet.set_pts(Some(unit.pts.to_scale(self.scale).ticks()));
        packet.set_dts(Some(unit.dts.to_scale(self.scale).ticks()));
        if unit.random_access {
            packet.set_flags(ffmpeg::packet::Flags::KEY);
        }
        self.opened.send_packet(&packet).map_err(Error::refused("decoding"))
    }

    /// Nothing more will be sent: lets the pictures out that wait for later ones. [`reset`](Self::reset) begins anew.
    pub fn finish(&mut self) {
        // The only answer besides "done" is that it was told before.
        let _ = self.opened.send_eof();
    }

    /// Forgets everything; the next access unit should be a random access point.
    pub fn reset(&mut self) {
        self.opened.flush();
    }

    /// The next picture; `None` when more must be sent first.
    pub fn picture(&mut self) -> Result<Option<Picture>, Error> {
        let mut picture = Picture::empty();
        let came = answer("decoding", self.opened.receive_frame(&mut picture.0))?;
        if came {
            picture.turn(self.rotation);
        }
        Ok(came.then_some(picture))
    }

    /// The next run of sound; `None` when more must be sent first.
    pub fn sound(&mut self) -> Result<Option<Sound>, Error> {
        let mut sound = Sound::empty();
        let came = answer("decoding", self.opened.receive_frame(&mut sound.0))?;
        Ok(came.then_some(sound))
    }
}

/// libav's name of a codec, and what its decoder wants to know ahead.
fn parameters(codec: &Codec) -> (Id, Vec<u8>) {
    // The units' NAL lengths have 4 bytes whatever the publisher's had: `lengthSizeMinusOne` is made to say so.
    let with_4_byte_lengths = |config: &[u8], at: usize| {
        let mut config = config.to_vec();
        if let Some(byte) = config.get_mut(at) {
            *byte |= 3;
        }
        config
    };
    match codec {
        Codec::H264 { config, .. } => (Id::H264, with_4_byte_lengths(config, 4)),
        Codec::H265 { config, .. } => (Id::HEVC, with_4_byte_lengths(config, 21)),
        Codec::Av1 { config, .. } => (Id::AV1, config.to_vec()),
        Codec::Vp9 { .. } => (Id::VP9, Vec::new()),
        Codec::Aac(aac) => (Id::AAC, aac.config.to_vec()),
        Codec::Opus { config, .. } => (Id::OPUS, [b"OpusHead", config.as_ref()].concat()),
        Codec::Ac3 { .. } => (Id::AC3, Vec::new()),
        Codec::Eac3 { .. } => (Id::EAC3, Vec::new()),
        Codec::Flac { config, .. } => (Id::FLAC, config.to_vec()),
        Codec::Mp3 { .. } => (Id::MP3, Vec::new()),
    }
}

fn set_extradata(context: &mut ffi::AVCodecContext, extradata: &[u8]) -> Result<(), Error> {
    if !extradata.is_empty() {
        // The context frees it.
        context.extradata = padded(extradata)?;
        context.extradata_size = c_int::try_from(extradata.len()).unwrap_or_default();
    }
    Ok(())
}

/// A copy in libav's own memory, with the zeros behind it that libav's readers need.
pub(super) fn padded(extradata: &[u8]) -> Result<*mut u8, Error> {
    let padding = usize::try_from(ffi::AV_INPUT_BUFFER_PADDING_SIZE).unwrap_or_default();
    // SAFETY: allocates; the result is checked.
    let memory = unsafe { ffi::av_mallocz(extradata.len() + padding) }.cast::<u8>();
    if memory.is_null() {
        return Err(Error::OutOfMemory);
    }
    // SAFETY: `memory` is new and longer than what is copied into it.
    unsafe { memory.copy_from_nonoverlapping(extradata.as_ptr(), extradata.len()) };
    Ok(memory)
}
