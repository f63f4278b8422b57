//! Tracks for unit tests.

use bytes::Bytes;

use super::{Aac, AudioFormat, Codec, Rotation, Size, Timescale, Track, TrackId, VideoFormat};

/// A baseline avcC of 320x240, made by x264.
const AVCC: &[u8] = &[1, 66, 192, 13, 255, 225, 0, 8, 103, 66, 192, 13, 219, 5, 7, 196, 1, 0, 4, 104, 202, 131, 203];

/// H.264, 90 kHz.
pub(crate) fn video_track() -> Track {
    let video = VideoFormat {
        size: Size { width: 320, height: 240 },
        sample_aspect: (1, 1),
        frame_rate: None,
        color: None,
        rotation: Rotation::None,
    };
    let codec = Codec::H264 { config: Bytes::from_static(AVCC), video };
    Track { id: TrackId(0), timescale: Timescale::MPEG, codec, language: None, delay: 0 }
}

/// AAC-LC, stereo, 48 kHz, English.
pub(crate) fn audio_track() -> Track {
    let audio = AudioFormat { sample_rate: 48_000, channels: 2 };
    let codec = Codec::Aac(Aac { config: Bytes::from_static(&[0x11, 0x90]), object_type: 2, audio });
    let timescale = Timescale::new(48_000).expect("a literal above zero");
    let language = Some("eng".parse().expect("a language"));
    Track { id: TrackId(1), timescale, codec, language, delay: 0 }
}
