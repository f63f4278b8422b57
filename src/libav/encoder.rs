//! Pictures to H.264 (libx264), sound to AAC (libavcodec's own).

use std::ffi::c_int;

use bytes::Bytes;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::threading;
use ffmpeg_next::ffi;
use ffmpeg_next::format::{Pixel, Sample, sample};
use ffmpeg_next::{color, packet::Flags};

use super::{Error, Picture, answer, timing};
use crate::media::{Bitrate, FrameRate, Size, Timescale};

/// What an encoder gave out.
#[derive(Clone, Debug)]
pub struct Coded {
    /// When to show or hear it, in ticks of the encoder's clock.
    pub pts: i64,
    /// When to decode it.
    pub dts: i64,
    /// A random access point.
    pub key: bool,
    /// Video: NAL units after their 4-byte lengths. Audio: a raw frame. libav's own memory, not a copy.
    pub data: Bytes,
}

/// How to encode pictures.
#[derive(Clone, Debug)]
pub struct VideoSettings {
    /// Columns and rows, both even.
    pub size: Size,
    /// The clock of pictures and of what comes out.
    pub scale: Timescale,
    /// As announced in the stream and assumed by the rate control; pictures may come at other times.
    pub frame_rate: FrameRate,
    /// On average. Over short times up to 1.5 times that, with a buffer of two seconds.
    pub bitrate: Bitrate,
    /// x264's preset.
    pub preset: String,
    /// x264's tune, where it has one.
    pub tune: Option<&'static str>,
    /// 0 for as many as x264 likes.
    pub threads: usize,
    /// Pictures between two references.
    pub b_frames: usize,
    /// More of x264's own parameters, such as `"tff=1:sar=64/45"`; empty for none.
    pub more: &'static str,
}

/// What the encoder writes into the stream about colours, taken from a picture that it will encode.
#[derive(Clone, Copy, Debug)]
pub struct Colors {
    space: color::Space,
    primaries: color::Primaries,
    transfer: color::TransferCharacteristic,
    chroma: ffmpeg::util::chroma::Location,
}

impl Colors {
    /// Those of a picture.
    pub fn of(picture: &Picture) -> Self {
        Self {
            space: picture.0.color_space(),
            primaries: picture.0.color_primaries(),
            transfer: picture.0.color_transfer_characteristic(),
            chroma: picture.0.chroma_location(),
        }
    }
}

/// libx264. After each [`send`](Self::send), take all that has come out.
pub struct VideoEncoder {
    encoder: ffmpeg::encoder::video::Encoder,
    frame_rate: FrameRate,
}

impl VideoEncoder {
    /// Opens it. Random access points come where they are asked for and nowhere else.
    pub fn open(settings: &VideoSettings, colors: Colors) -> Result<Self, Error> {
        let name = "libx264";
        let codec = ffmpeg::encoder::find_by_name(name)
            .ok_or(Error::NoEncoder { name, remedy: "install Debian's libavcodec-extra" })?;
        let context = ffmpeg::codec::Context::new_with_codec(codec);
        let mut video = context.encoder().video().map_err(Error::refused("opening libx264"))?;
        video.set_width(settings.size.width);
        video.set_height(settings.size.height);
        video.set_format(Pixel::YUV420P);
        let rational = |n: u32, d: u32| ffmpeg::Rational::new(small(n), small(d));
        video.set_time_base(rational(1, settings.scale.get()));
        video.set_frame_rate(Some(rational(settings.frame_rate.numerator, settings.frame_rate.denominator)));
        video.set_aspect_ratio(ffmpeg::Rational::new(1, 1));
        video.set_max_b_frames(settings.b_frames);
        let bits = usize::try_from(settings.bitrate.get()).unwrap_or(usize::MAX / 4);
        video.set_bit_rate(bits);
        video.set_max_bit_rate(bits + bits / 2);
        video.set_gop(1 << 30);
        video.set_threading(threading::Config {
            kind: threading::Type::Frame,
            count: settings.threads,
            ..threading::Config::default()
        });
        // SAFETY: the pointer is used while `video` lives.
        let raw = unsafe { video.as_mut_ptr() };
        // SAFETY: a context that is not open belongs to us alone.
        let raw = unsafe { &mut *raw };
        raw.rc_buffer_size = c_int::try_from(bits.saturating_mul(2)).unwrap_or(c_int::MAX);
        raw.flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER.cast_signed();
        raw.colorspace = colors.space.into();
        raw.color_primaries = colors.primaries.into();
        raw.color_trc = colors.transfer.into();
        raw.color_range = color::Range::MPEG.into();
        raw.chroma_sample_location = colors.chroma.into();
        let mut options = ffmpeg::Dictionary::new();
        options.set("preset", &settings.preset);
        if let Some(tune) = settings.tune {
            options.set("tune", tune);
        }
        options.set("profile", "high");
        options.set("forced-idr", "1");
        options.set("sc_threshold", "0");
        // 4-byte lengths instead of start codes: what the stages behind take, without a copy.
        options.set("x264-params", &format!("annexb=0:{}", settings.more));
        let encoder = video.open_as_with(codec, options).map_err(Error::refused("opening libx264"))?;
        Ok(Self { encoder, frame_rate: settings.frame_rate })
    }

    /// Encodes one picture, as a random access point (an IDR picture) when `key`.
    pub fn send(&mut self, picture: &mut Picture, key: bool) -> Result<(), Error> {
        picture.ask_key(key);
        self.encoder.send_frame(&picture.0).map_err(Error::refused("encoding pictures"))
    }

    /// Nothing more will be sent: lets out what waits.
    pub fn finish(&mut self) {
        // The only answer besides "done" is that it was told before.
        let _ = self.encoder.send_eof();
    }

    /// The next coded picture; `None` when more must be sent first.
    pub fn receive(&mut self) -> Result<Option<Coded>, Error> {
        let mut packet = ffmpeg::Packet::empty();
        let came = answer("encoding pictures", self.encoder.receive_packet(&mut packet))?;
        Ok(came.then(|| coded(packet)))
    }

    /// The parameter sets, SPS and PPS, in Annex B; they announce the frame rate that was asked for.
    pub fn parameter_sets(&self) -> Result<Vec<u8>, Error> {
        // x264 was told to write lengths, also here.
        let mut annex_b = extradata(&self.encoder);
        let mut at = 0;
        while let Some(length) = annex_b.get_mut(at..at + 4) {
            let nal = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            length.copy_from_slice(&[0, 0, 0, 1]);
            at += 4 + nal;
        }
        Ok(timing::announce(&annex_b, self.frame_rate)?.unwrap_or(annex_b))
    }
}

/// libavcodec's AAC-LC encoder: 1024 samples a frame, 1024 samples of priming.
pub struct AudioEncoder {
    encoder: ffmpeg::encoder::audio::Encoder,
    channels: u16,
    rate: u32,
}

impl AudioEncoder {
    /// Samples of each channel in a frame, and in the encoder's priming.
    pub const FRAME: usize = 1024;

    /// Opens it for one channel or two.
    pub fn open(rate: u32, channels: u16, bitrate: Bitrate) -> Result<Self, Error> {
        let name = "aac";
        let codec = ffmpeg::encoder::find_by_name(name)
            .ok_or(Error::NoEncoder { name, remedy: "build FFmpeg with --enable-encoder=aac" })?;
        let context = ffmpeg::codec::Context::new_with_codec(codec);
        let mut audio = context.encoder().audio().map_err(Error::refused("opening the AAC encoder"))?;
        audio.set_rate(small(rate));
        audio.set_format(Sample::F32(sample::Type::Planar));
        audio.set_time_base(ffmpeg::Rational::new(1, small(rate)));
        audio.set_bit_rate(usize::try_from(bitrate.get()).unwrap_or(usize::MAX));
        // SAFETY: the pointer is used while `audio` lives.
        let raw = unsafe { audio.as_mut_ptr() };
        // SAFETY: a context that is not open belongs to us alone.
        let raw = unsafe { &mut *raw };
        raw.flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER.cast_signed();
        // SAFETY: the layout is inside the context and empty so far.
        unsafe { ffi::av_channel_layout_default(&raw mut raw.ch_layout, c_int::from(channels)) };
        let encoder = audio.open_as(codec).map_err(Error::refused("opening the AAC encoder"))?;
        Ok(Self { encoder, channels, rate })
    }

    /// Encodes up to [`FRAME`](Self::FRAME) samples of each channel; fewer only at the end.
    pub fn send(&mut self, pts: i64, channels: &[&[f32]]) -> Result<(), Error> {
        let samples = channels.first().map_or(0, |first| first.len());
        let mut frame = ffmpeg::frame::Audio::empty();
        frame.set_format(Sample::F32(sample::Type::Planar));
        frame.set_samples(samples);
        frame.set_rate(self.rate);
        frame.set_pts(Some(pts));
        // SAFETY: the pointer is used while `frame` lives.
        let raw = unsafe { frame.as_mut_ptr() };
        // SAFETY: the frame belongs to us alone; its layout is empty so far.
        let layout = unsafe { &mut (*raw).ch_layout };
        // SAFETY: the layout is inside the frame.
        unsafe { ffi::av_channel_layout_default(layout, c_int::from(self.channels)) };
        // SAFETY: format, samples and layout are set; 0 lets libav align.
        if unsafe { ffi::av_frame_get_buffer(raw, 0) } < 0 {
            return Err(Error::OutOfMemory);
        }
        for (index, from) in channels.iter().enumerate().take(usize::from(self.channels)) {
            for (to, from) in frame.plane_mut::<f32>(index).iter_mut().zip(*from) {
                *to = *from;
            }
        }
        self.encoder.send_frame(&frame).map_err(Error::refused("encoding sound"))
    }

    /// Nothing more will be sent: lets out what waits.
    pub fn finish(&mut self) {
        // The only answer besides "done" is that it was told before.
        let _ = self.encoder.send_eof();
    }

    /// The next coded frame; `None` when more must be sent first.
    pub fn receive(&mut self) -> Result<Option<Coded>, Error> {
        let mut packet = ffmpeg::Packet::empty();
        let came = answer("encoding sound", self.encoder.receive_packet(&mut packet))?;
        Ok(came.then(|| coded(packet)))
    }

    /// The `AudioSpecificConfig`.
    pub fn config(&self) -> Vec<u8> {
        extradata(&self.encoder)
    }
}

fn small(value: u32) -> c_int {
    c_int::try_from(value).unwrap_or(c_int::MAX)
}

fn extradata(context: &ffmpeg::codec::Context) -> Vec<u8> {
    // SAFETY: the pointer is used while `context` lives.
    let raw = unsafe { context.as_ptr() };
    // SAFETY: nobody writes to it meanwhile.
    let raw = unsafe { &*raw };
    let length = usize::try_from(raw.extradata_size).unwrap_or_default();
    if raw.extradata.is_null() || length == 0 {
        return Vec::new();
    }
    // SAFETY: libav says how long it is, and does not change it after opening.
    unsafe { std::slice::from_raw_parts(raw.extradata, length) }.to_vec()
}

/// A packet as the owner of its bytes.
struct Owned(ffmpeg::Packet);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.0.data().unwrap_or_default()
    }
}

fn coded(packet: ffmpeg::Packet) -> Coded {
    let pts = packet.pts().unwrap_or_default();
    let dts = packet.dts().unwrap_or(pts);
    let key = packet.flags().contains(Flags::KEY);
    Coded { pts, dts, key, data: Bytes::from_owner(Owned(packet)) }
}

/// Encodes planes of samples with any of libavcodec's encoders, to have something to decode in tests. Gives the extradata
/// and the frames.
#[cfg(test)]
pub(crate) fn encode_sound_for_test(name: &str, rate: u32, planes: &[Vec<f32>]) -> (Vec<u8>, Vec<Coded>) {
    let codec = ffmpeg::encoder::find_by_name(name).unwrap();
    let mut audio = ffmpeg::codec::Context::new_with_codec(codec).encoder().audio().unwrap();
    let packed = name == "flac";
    let format = if packed { Sample::I16(sample::Type::Packed) } else { Sample::F32(sample::Type::Planar) };
    let channels = u16::try_from(planes.len()).unwrap();
    audio.set_rate(small(rate));
    audio.set_format(format);
    audio.set_time_base(ffmpeg::Rational::new(1, small(rate)));
    audio.set_bit_rate(192_000);
    // SAFETY: the pointer is used while `audio` lives.
    let raw = unsafe { audio.as_mut_ptr() };
    // SAFETY: a context that is not open belongs to us alone.
    let raw = unsafe { &mut *raw };
    // SAFETY: the layout is inside the context and empty so far.
    unsafe { ffi::av_channel_layout_default(&raw mut raw.ch_layout, c_int::from(channels)) };
    let encoder = audio.open_as(codec).unwrap();
    let frame_size = usize::try_from(encoder.frame_size()).unwrap();
    let mut encoder = AudioEncoder { encoder, channels, rate };
    let mut all = Vec::new();
    for start in (0..planes[0].len()).step_by(frame_size) {
        let end = planes[0].len().min(start + frame_size);
        let pts = i64::try_from(start).unwrap();
        if packed {
            encoder.send_packed_for_test(pts, planes, start..end);
        } else {
            let part: Vec<&[f32]> = planes.iter().map(|plane| &plane[start..end]).collect();
            encoder.send(pts, &part).unwrap();
        }
        while let Some(coded) = encoder.receive().unwrap() {
            all.push(coded);
        }
    }
    encoder.finish();
    while let Some(coded) = encoder.receive().unwrap() {
        all.push(coded);
    }
    // FLAC's encoder ends with a packet that only has side data.
    all.retain(|coded| !coded.data.is_empty());
    (encoder.config(), all)
}

#[cfg(test)]
impl AudioEncoder {
    #[expect(clippy::cast_possible_truncation, reason = "samples are between -1 and 1")]
    fn send_packed_for_test(&mut self, pts: i64, planes: &[Vec<f32>], range: std::ops::Range<usize>) {
        let layout = ffmpeg::ChannelLayout::default(i32::from(self.channels));
        let mut frame = ffmpeg::frame::Audio::new(Sample::I16(sample::Type::Packed), range.len(), layout);
        frame.set_rate(self.rate);
        frame.set_pts(Some(pts));
        // SAFETY: the pointer is used while `frame` lives.
        let raw = unsafe { frame.as_mut_ptr() };
        // SAFETY: the frame belongs to us alone.
        let to = unsafe { &mut (*raw).ch_layout };
        // SAFETY: the layout is inside the frame and owns no memory.
        unsafe { ffi::av_channel_layout_default(to, c_int::from(self.channels)) };
        let samples = range.flat_map(|at| planes.iter().map(move |plane| (plane[at] * 32_000.0) as i16));
        for (to, sample) in frame.data_mut(0).chunks_exact_mut(2).zip(samples) {
            to.copy_from_slice(&sample.to_ne_bytes());
        }
        self.encoder.send_frame(&frame).unwrap();
    }
}
