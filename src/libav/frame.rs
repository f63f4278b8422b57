//! Decoded pictures and sound: reference-counted frames of libav.

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi;
use ffmpeg_next::format::{Pixel, Sample};
use ffmpeg_next::frame::side_data;
use ffmpeg_next::{color, picture};

use super::Error;
use crate::media::{Rotation, Size};

/// A decoded picture. Its samples are shared with all its [`share`](Self::share)s, its times are its own.
pub struct Picture(pub(super) ffmpeg::frame::Video);

/// What a filter graph depends on: pictures that differ in it need another graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// Columns and rows.
    pub size: Size,
    /// Width to height of a sample.
    pub sample_aspect: (u32, u32),
    /// How it must be turned.
    pub rotation: Rotation,
    /// Samples from 0 to 255 rather than from 16 to 235.
    pub full_range: bool,
    pub(super) format: Pixel,
    pub(super) space: color::Space,
}

impl Layout {
    /// 8 bits in 4:2:0, which every decoder in a browser takes.
    pub fn is_plain(&self) -> bool {
        self.format == Pixel::YUV420P && !self.full_range
    }
}

impl Picture {
    /// An 8-bit 4:2:0 picture to draw on.
    pub fn blank(size: Size) -> Self {
        Self(ffmpeg::frame::Video::new(Pixel::YUV420P, size.width, size.height))
    }

    pub(super) fn empty() -> Self {
        Self(ffmpeg::frame::Video::empty())
    }

    /// Another reference to the same samples; nothing is copied.
    pub fn share(&self) -> Result<Self, Error> {
        let mut other = Self::empty();
        // SAFETY: the pointer is used while `other` lives.
        let to = unsafe { other.0.as_mut_ptr() };
        // SAFETY: the pointer is used while `self` lives.
        let from = unsafe { self.0.as_ptr() };
        // SAFETY: both are frames; `to` is empty, so nothing leaks.
        let result = unsafe { ffi::av_frame_ref(to, from) };
        if result < 0 { Err(Error::OutOfMemory) } else { Ok(other) }
    }

    /// When to show it, in ticks; the decoder's guess where the stream does not say.
    pub fn pts(&self) -> Option<i64> {
        self.0.pts().or_else(|| self.0.timestamp())
    }

    /// Says when to show it.
    pub fn set_pts(&mut self, ticks: i64) {
        self.0.set_pts(Some(ticks));
    }

    /// Asks the encoder for a random access point, or leaves the choice to it.
    pub(super) fn ask_key(&mut self, key: bool) {
        self.0.set_kind(if key { picture::Type::I } else { picture::Type::None });
    }

    /// Columns and rows.
    pub fn size(&self) -> Size {
        Size { width: self.0.width(), height: self.0.height() }
    }

    /// Made of two fields of different times.
    pub fn is_interlaced(&self) -> bool {
        self.0.is_interlaced()
    }

    /// What a filter graph depends on.
    pub fn layout(&self) -> Layout {
        let aspect = self.0.aspect_ratio();
        let positive = |value: i32| u32::try_from(value).ok().filter(|&v| v > 0);
        let jpeg = matches!(self.0.format(), Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P);
        Layout {
            size: self.size(),
            sample_aspect: positive(aspect.numerator()).zip(positive(aspect.denominator())).unwrap_or((1, 1)),
            rotation: self.rotation(),
            full_range: jpeg || self.0.color_range() == color::Range::JPEG,
            format: self.0.format(),
            space: self.0.color_space(),
        }
    }

    fn rotation(&self) -> Rotation {
        let Some(matrix) = self.0.side_data(side_data::Type::DisplayMatrix) else { return Rotation::None };
        // Nine numbers of 16.16; the first two of the first row are cosine and sine (ISO/IEC 14496-12 § 6.2.2).
        let number = |at: usize| {
            let bytes = matrix.data().get(at * 4..at * 4 + 4)?;
            bytes.try_into().ok().map(i32::from_ne_bytes)
        };
        let (Some(cosine), Some(sine)) = (number(0), number(1)) else { return Rotation::None };
        Rotation::from_matrix(cosine, sine)
    }

    /// The rows of a plane of a [`blank`](Self::blank) picture (0 luma, 1 and 2 chroma), and the bytes from one row to
    /// the next.
    pub fn plane_mut(&mut self, plane: usize) -> (&mut [u8], usize) {
        let stride = self.0.stride(plane);
        (self.0.data_mut(plane), stride)
    }

    /// The rows of a plane, and the bytes from one row to the next.
    pub fn plane(&self, plane: usize) -> (&[u8], usize) {
        (self.0.data(plane), self.0.stride(plane))
    }

    /// Says how it must be turned, unless it says so itself.
    pub(super) fn turn(&mut self, rotation: Rotation) {
        let (cosine, sine) = rotation.cosine_sine();
        let (cosine, sine) = (cosine << 16, sine << 16);
        if rotation == Rotation::None
            || self.0.side_data(side_data::Type::DisplayMatrix).is_some()
            || self.0.new_side_data(side_data::Type::DisplayMatrix, 36).is_none()
        {
            return;
        }
        // SAFETY: the pointer is used while `self` lives.
        let frame = unsafe { self.0.as_mut_ptr() };
        // SAFETY: the side data was made above.
        let side = unsafe { ffi::av_frame_get_side_data(frame, side_data::Type::DisplayMatrix.into()) };
        // SAFETY: it was found: 36 bytes, aligned for any type, and nobody else looks at it.
        let data = unsafe { (*side).data };
        // SAFETY: as above.
        let matrix = unsafe { &mut *data.cast::<[i32; 9]>() };
        *matrix = [cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30];
    }
}

/// A run of decoded sound.
pub struct Sound(pub(super) ffmpeg::frame::Audio);

impl Sound {
    pub(super) fn empty() -> Self {
        Self(ffmpeg::frame::Audio::empty())
    }

    /// When to hear its first sample, in ticks.
    pub fn pts(&self) -> Option<i64> {
        self.0.pts().or_else(|| self.0.timestamp())
    }

    /// Samples of each channel.
    pub fn samples(&self) -> usize {
        self.0.samples()
    }

    /// Samples per second of each channel.
    pub fn sample_rate(&self) -> u32 {
        self.0.rate()
    }

    /// How many channels.
    pub fn channels(&self) -> u16 {
        self.0.channels()
    }

    /// One channel of sound that a [`SoundGraph`](super::SoundGraph) made; empty when there is no such channel.
    pub fn channel(&self, index: usize) -> &[f32] {
        let planar = self.0.format() == Sample::F32(ffmpeg::format::sample::Type::Planar);
        if planar && index < self.0.planes() { self.0.plane(index) } else { &[] }
    }

    /// What a filter graph depends on.
    pub(super) fn shape(&self) -> (Sample, u32, u16) {
        (self.0.format(), self.0.rate(), self.0.channels())
    }
}
