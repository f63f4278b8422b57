//! Codecs and what must be known of them to package, announce and decode. Parsing bits is `bitstream`'s business.

use std::fmt;

use bytes::Bytes;

/// A codec with its parameters. The configuration records are those of the ISO base media file format.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the codecs' names")]
pub enum Codec {
    /// `config`: `AVCDecoderConfigurationRecord`, ISO/IEC 14496-15 § 5.3.3.
    H264 {
        config: Bytes,
        video: VideoFormat,
    },
    /// `config`: `HEVCDecoderConfigurationRecord`, ISO/IEC 14496-15 § 8.3.3.
    H265 {
        config: Bytes,
        video: VideoFormat,
    },
    /// `config`: `AV1CodecConfigurationRecord`, AV1-ISOBMFF § 2.3.
    Av1 {
        config: Bytes,
        video: VideoFormat,
    },
    /// `config`: `VPCodecConfigurationRecord`, without the `FullBox` header.
    Vp9 {
        config: Bytes,
        video: VideoFormat,
    },
    Aac(Aac),
    /// `config`: the Ogg identification header without its magic (RFC 7845 § 5.1, from the version byte on).
    Opus {
        config: Bytes,
        audio: AudioFormat,
    },
    /// Dolby Digital; its parameters stand in every frame.
    Ac3 {
        audio: AudioFormat,
    },
    /// Dolby Digital Plus.
    Eac3 {
        audio: AudioFormat,
    },
    /// `config`: the `STREAMINFO` block's 34 bytes (RFC 9639 § 8.2).
    Flac {
        config: Bytes,
        audio: AudioFormat,
    },
    Mp3 {
        audio: AudioFormat,
    },
}

/// AAC with its `AudioSpecificConfig` (ISO/IEC 14496-3 § 1.6.2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Aac {
    /// The `AudioSpecificConfig`, as it stands in `esds` and FLV.
    pub config: Bytes,
    /// `audioObjectType` as a decoder announces it: 2 AAC-LC, 5 HE-AAC, 29 HE-AAC v2.
    pub object_type: u8,
    /// Of the core coder: what an access unit's 1024 samples count in.
    pub audio: AudioFormat,
}

impl Codec {
    /// The `CODECS` value of RFC 6381 and the codecs' own ISOBMFF bindings.
    pub fn rfc6381(&self) -> String {
        match self {
            Self::H264 { config, .. } => {
                let byte = |at: usize| config.get(at).copied().unwrap_or_default();
                format!("avc1.{:02x}{:02x}{:02x}", byte(1), byte(2), byte(3))
            }
            Self::H265 { config, .. } => hevc_string(config),
            Self::Av1 { config, .. } => av1_string(config),
            Self::Vp9 { config, .. } => {
                let byte = |at: usize| config.get(at).copied().unwrap_or_default();
                format!("vp09.{:02}.{:02}.{:02}", byte(0), byte(1), byte(2) >> 4)
            }
            Self::Aac(aac) => format!("mp4a.40.{}", aac.object_type),
            Self::Opus { .. } => "Opus".to_owned(),
            Self::Ac3 { .. } => "ac-3".to_owned(),
            Self::Eac3 { .. } => "ec-3".to_owned(),
            Self::Flac { .. } => "fLaC".to_owned(),
            Self::Mp3 { .. } => "mp4a.40.34".to_owned(),
        }
    }

    /// The picture's properties; `None` for sound.
    pub fn video(&self) -> Option<&VideoFormat> {
        match self {
            Self::H264 { video, .. } | Self::H265 { video, .. } | Self::Av1 { video, .. } | Self::Vp9 { video, .. } => {
                Some(video)
            }
            Self::Aac(_) | Self::Opus { .. } | Self::Ac3 { .. } | Self::Eac3 { .. } | Self::Flac { .. } => None,
            Self::Mp3 { .. } => None,
        }
    }

    /// The same, of pictures that the container says must be turned.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Rotation) -> Self {
        match &mut self {
            Self::H264 { video, .. } | Self::H265 { video, .. } | Self::Av1 { video, .. } | Self::Vp9 { video, .. } => {
                video.rotation = rotation;
            }
            Self::Aac(_) | Self::Opus { .. } | Self::Ac3 { .. } | Self::Eac3 { .. } | Self::Flac { .. } => {}
            Self::Mp3 { .. } => {}
        }
        self
    }

    /// The sound's properties; `None` for a picture.
    pub fn audio(&self) -> Option<&AudioFormat> {
        match self {
            Self::H264 { .. } | Self::H265 { .. } | Self::Av1 { .. } | Self::Vp9 { .. } => None,
            Self::Aac(aac) => Some(&aac.audio),
            Self::Opus { audio, .. }
            | Self::Ac3 { audio }
            | Self::Eac3 { audio }
            | Self::Flac { audio, .. }
            | Self::Mp3 { audio } => Some(audio),
        }
    }

    /// Samples in one access unit, where the codec fixes them.
    pub fn samples_per_unit(&self) -> Option<u32> {
        match self {
            Self::Aac(_) => Some(1024),
            Self::Ac3 { .. } | Self::Eac3 { .. } => Some(1536),
            Self::Mp3 { audio } => Some(if audio.sample_rate < 32_000 { 576 } else { 1152 }),
            Self::H264 { .. } | Self::H265 { .. } | Self::Av1 { .. } | Self::Vp9 { .. } => None,
            Self::Opus { .. } | Self::Flac { .. } => None,
        }
    }

    /// For people: `H.264`, `AAC`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::H264 { .. } => "H.264",
            Self::H265 { .. } => "H.265",
            Self::Av1 { .. } => "AV1",
            Self::Vp9 { .. } => "VP9",
            Self::Aac(_) => "AAC",
            Self::Opus { .. } => "Opus",
            Self::Ac3 { .. } => "AC-3",
            Self::Eac3 { .. } => "E-AC-3",
            Self::Flac { .. } => "FLAC",
            Self::Mp3 { .. } => "MP3",
        }
    }
}

/// ISO/IEC 14496-15 Annex E.3: profile space and idc, reversed compatibility flags, tier and level, constraint bytes.
fn hevc_string(config: &[u8]) -> String {
    let byte = |at: usize| config.get(at).copied().unwrap_or_default();
    let space = ["", "A", "B", "C"][usize::from(byte(1) >> 6)];
    let tier = if byte(1) & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([byte(2), byte(3), byte(4), byte(5)]).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", byte(1) & 0x1F, byte(12));
    let constraints: Vec<u8> = (6..12).map(byte).collect();
    let kept = constraints.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    for constraint in constraints.iter().take(kept) {
        text.push_str(&format!(".{constraint:X}"));
    }
    text
}

/// AV1-ISOBMFF § 5: profile, level and tier, bit depth.
fn av1_string(config: &[u8]) -> String {
    let byte = |at: usize| config.get(at).copied().unwrap_or_default();
    let tier = if byte(2) & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (byte(2) & 0x40 != 0, byte(2) & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    format!("av01.{}.{:02}{tier}.{depth:02}", byte(1) >> 5, byte(1) & 0x1F)
}

/// What a picture looks like, as its parameter sets say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoFormat {
    /// Coded samples after cropping, before the sample aspect ratio.
    pub size: Size,
    /// Width to height of a sample; `(1, 1)` for square and for unsaid.
    pub sample_aspect: (u32, u32),
    /// As announced; `None` when the parameter sets do not say.
    pub frame_rate: Option<FrameRate>,
    /// As announced; `None` when the parameter sets do not say.
    pub color: Option<Color>,
    /// How the container says that it must be turned; parameter sets do not.
    pub rotation: Rotation,
}

impl VideoFormat {
    /// Columns and rows as shown: the sample aspect ratio applied to the width, and upright.
    pub fn display_size(&self) -> Size {
        let (horizontal, vertical) = self.sample_aspect;
        let width = u64::from(self.size.width) * u64::from(horizontal) / u64::from(vertical.max(1));
        let width = u32::try_from(width).unwrap_or(self.size.width);
        self.rotation.turned(Size { width, height: self.size.height })
    }
}

/// How a picture must be turned, clockwise, to stand upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// It stands upright.
    #[default]
    None,
    /// A quarter, clockwise.
    Quarter,
    /// Upside down.
    Half,
    /// A quarter, counterclockwise.
    ThreeQuarters,
}

impl Rotation {
    /// Whether width and height change places.
    pub const fn swaps(self) -> bool {
        matches!(self, Self::Quarter | Self::ThreeQuarters)
    }

    /// The size of a picture after it was turned.
    #[must_use]
    pub const fn turned(self, size: Size) -> Size {
        if self.swaps() { Size { width: size.height, height: size.width } } else { size }
    }

    /// Cosine and sine of the turn: the first two numbers of a transformation matrix (ISO/IEC 14496-12 § 6.2.2).
    pub const fn cosine_sine(self) -> (i32, i32) {
        match self {
            Self::None => (1, 0),
            Self::Quarter => (0, 1),
            Self::Half => (-1, 0),
            Self::ThreeQuarters => (0, -1),
        }
    }

    /// The turn that is nearest to a transformation matrix with these first two numbers.
    pub const fn from_matrix(cosine: i32, sine: i32) -> Self {
        if sine.unsigned_abs() > cosine.unsigned_abs() {
            if sine > 0 { Self::Quarter } else { Self::ThreeQuarters }
        } else if cosine < 0 {
            Self::Half
        } else {
            Self::None
        }
    }
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns of samples.
    pub width: u32,
    /// Rows of samples.
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Code points of ISO/IEC 23091-2: the `nclx` colour of a `colr` box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    /// `ColourPrimaries`.
    pub primaries: u8,
    /// `TransferCharacteristics`.
    pub transfer: u8,
    /// `MatrixCoefficients`.
    pub matrix: u8,
    /// `VideoFullRangeFlag`.
    pub full_range: bool,
}

/// Pictures per second, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRate {
    /// Pictures …
    pub numerator: u32,
    /// … in this many seconds; never zero.
    pub denominator: u32,
}

impl FrameRate {
    /// Pictures per second.
    pub fn fps(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator.max(1))
    }
}

/// What a sound is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Samples per second of one channel.
    pub sample_rate: u32,
    /// Channels, the low-frequency one included.
    pub channels: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video() -> VideoFormat {
        VideoFormat {
            size: Size { width: 2, height: 2 },
            sample_aspect: (1, 1),
            frame_rate: None,
            color: None,
            rotation: Rotation::None,
        }
    }

    #[test]
    fn codec_strings_come_from_the_configuration_records() {
        let h264 = Codec::H264 { config: Bytes::from_static(&[1, 0x64, 0x00, 0x28, 0xFF]), video: video() };
        assert_eq!(h264.rfc6381(), "avc1.640028");
        // Main profile, level 3.1, progressive and frame-only, as x265 writes it.
        let hvcc = [1, 0x01, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93];
        let h265 = Codec::H265 { config: Bytes::copy_from_slice(&hvcc), video: video() };
        assert_eq!(h265.rfc6381(), "hvc1.1.6.L93.90");
        let av1 = Codec::Av1 { config: Bytes::from_static(&[0x81, 0x08, 0x0C, 0x00]), video: video() };
        assert_eq!(av1.rfc6381(), "av01.0.08M.08");
        let vp9 = Codec::Vp9 { config: Bytes::from_static(&[0, 31, 0x80, 2, 2, 2, 0, 0]), video: video() };
        assert_eq!(vp9.rfc6381(), "vp09.00.31.08");
    }
}
