//! The bodies of audio and video tags (Video File Format Specification 10 Annex E.4.2, E.4.3; Enhanced RTMP v2
//! "Enhanced Audio", "Enhanced Video"). Our own reader, because scuffle-flv turns sequence headers into structs, and what
//! has to be carried on are their bytes.

use bytes::{Buf, Bytes};

use super::FlvError;

/// What a tag carries for one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Among the tracks of its kind.
    pub(super) track: u8,
    pub(super) coding: Coding,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Sequence header: a configuration record.
    Config(Bytes),
    Frame {
        /// As the tag says; always so for audio.
        key: bool,
        /// Milliseconds from decoding to showing.
        offset: i32,
        data: Bytes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    H265,
    Av1,
    Vp9,
    Aac,
    Opus,
    Ac3,
    Eac3,
    Flac,
    Mp3,
    /// By a number that the first FLV gave it.
    Legacy(&'static str),
    /// By a FourCC that is not among ours.
    FourCc([u8; 4]),
}

impl Coding {
    fn video(four_cc: [u8; 4]) -> Self {
        match &four_cc {
            b"avc1" => Self::H264,
            b"hvc1" => Self::H265,
            b"av01" => Self::Av1,
            b"vp09" => Self::Vp9,
            _ => Self::FourCc(four_cc),
        }
    }

    fn audio(four_cc: [u8; 4]) -> Self {
        match &four_cc {
            b"mp4a" => Self::Aac,
            b"Opus" => Self::Opus,
            b"ac-3" => Self::Ac3,
            b"ec-3" => Self::Eac3,
            b"fLaC" => Self::Flac,
            b".mp3" => Self::Mp3,
            _ => Self::FourCc(four_cc),
        }
    }
}

/// What a video tag carries; nothing for commands, ends of sequences and metadata.
pub(super) fn video(mut body: Bytes) -> Result<Vec<Packet>, FlvError> {
    const SHORT: FlvError = FlvError::Short("video");
    let first = u8_of(&mut body).ok_or(SHORT)?;
    let (frame_type, low) = (first >> 4 & 7, first & 0xF);
    let key = frame_type == 1;
    let command = frame_type == 5;
    if first & 0x80 != 0 {
        return enhanced(body, low, &VIDEO_PACKETS, |kind, coding, mut data| {
            const METADATA: u8 = 4;
            if command && kind != METADATA {
                return Ok(None);
            }
            Ok(match kind {
                0 => Some(Content::Config(data)),
                1 | 3 => {
                    let composed = kind == 1 && matches!(coding, Coding::H264 | Coding::H265);
                    let offset = if composed { i24_of(&mut data).ok_or(SHORT)? } else { 0 };
                    Some(Content::Frame { key, offset, data })
                }
                _ => None, // end of sequence, metadata, MPEG-2 TS descriptors
            })
        });
    }
    let coding = match low {
        7 => Coding::H264,
        // Not in any specification, but what encoders sent before Enhanced RTMP.
        12 => Coding::H265,
        2 => Coding::Legacy("Sorenson H.263"),
        3 | 6 => Coding::Legacy("Screen Video"),
        4 | 5 => Coding::Legacy("On2 VP6"),
        _ => Coding::Legacy("a video codec that FLV does not have"),
    };
    if command {
        return Ok(Vec::new());
    }
    if matches!(coding, Coding::Legacy(_)) {
        return Ok(vec![Packet { track: 0, coding, content: Content::Frame { key, offset: 0, data: body } }]);
    }
    let kind = u8_of(&mut body).ok_or(SHORT)?;
    let offset = i24_of(&mut body).ok_or(SHORT)?;
    let content = match kind {
        0 => Content::Config(body),
        1 => Content::Frame { key, offset, data: body },
        _ => return Ok(Vec::new()), // end of sequence
    };
    Ok(vec![Packet { track: 0, coding, content }])
}

/// What an audio tag carries; nothing for ends of sequences and channel maps.
pub(super) fn audio(mut body: Bytes) -> Result<Vec<Packet>, FlvError> {
    const SHORT: FlvError = FlvError::Short("audio");
    let first = u8_of(&mut body).ok_or(SHORT)?;
    let frame = |data| Content::Frame { key: true, offset: 0, data };
    let coding = match first >> 4 {
        9 => {
            return enhanced(body, first & 0xF, &AUDIO_PACKETS, |kind, _, data| {
                Ok(match kind {
                    0 => Some(Content::Config(data)),
                    1 => Some(frame(data)),
                    _ => None,
                })
            });
        }
        10 => Coding::Aac,
        2 | 14 => Coding::Mp3,
        0 | 3 => Coding::Legacy("PCM"),
        1 => Coding::Legacy("ADPCM"),
        4..=6 => Coding::Legacy("Nellymoser"),
        7 | 8 => Coding::Legacy("G.711"),
        11 => Coding::Legacy("Speex"),
        _ => Coding::Legacy("an audio codec that FLV does not have"),
    };
    let content = match coding {
        Coding::Aac => match u8_of(&mut body).ok_or(SHORT)? {
            0 => Content::Config(body),
            _ => frame(body),
        },
        _ => frame(body),
    };
    Ok(vec![Packet { track: 0, coding, content }])
}

/// How packet types differ between the two kinds of enhanced tags.
struct Packets {
    what: &'static str,
    multitrack: u8,
    coding: fn([u8; 4]) -> Coding,
}

const MOD_EX: u8 = 7;
/// Packets of one tag: one for each track, and nobody has so many.
const MOST_PACKETS: usize = 64;
const VIDEO_PACKETS: Packets = Packets { what: "video", multitrack: 6, coding: Coding::video };
const AUDIO_PACKETS: Packets = Packets { what: "audio", multitrack: 5, coding: Coding::audio };

/// From behind the first byte on, whose low half is `kind`.
fn enhanced(
    mut body: Bytes,
    mut kind: u8,
    packets: &Packets,
    content: impl Fn(u8, Coding, Bytes) -> Result<Option<Content>, FlvError>,
) -> Result<Vec<Packet>, FlvError> {
    let short = || FlvError::Short(packets.what);
    while kind == MOD_EX {
        let mut size = usize::from(u8_of(&mut body).ok_or_else(short)?) + 1;
        if size == 256 {
            size = usize::from(array_of(&mut body).map(u16::from_be_bytes).ok_or_else(short)?) + 1;
        }
        // The one modifier there is says nanoseconds below the millisecond: less than a tick of this clock.
        split_to(&mut body, size).ok_or_else(short)?;
        kind = u8_of(&mut body).ok_or_else(short)? & 0xF;
    }
    let mut multitrack = None;
    if kind == packets.multitrack {
        let byte = u8_of(&mut body).ok_or_else(short)?;
        multitrack = Some(byte >> 4);
        kind = byte & 0xF;
    }
    const ONE_TRACK: u8 = 0;
    const MANY_CODECS: u8 = 2;
    let mut coding = None;
    if multitrack != Some(MANY_CODECS) {
        coding = Some((packets.coding)(array_of(&mut body).ok_or_else(short)?));
    }
    let mut found = Vec::new();
    loop {
        let coding = match coding {
            Some(coding) => coding,
            None => (packets.coding)(array_of(&mut body).ok_or_else(short)?),
        };
        let track = if multitrack.is_some() { u8_of(&mut body).ok_or_else(short)? } else { 0 };
        let data = match multitrack {
            None | Some(ONE_TRACK) => std::mem::take(&mut body),
            Some(_) => {
                let [a, b, c] = array_of(&mut body).ok_or_else(short)?;
                let size = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
                split_to(&mut body, size).ok_or_else(short)?
            }
        };
        if let Some(content) = content(kind, coding, data)? {
            found.push(Packet { track, coding, content });
        }
        if body.is_empty() {
            return Ok(found);
        }
        if found.len() == MOST_PACKETS {
            return Err(FlvError::TooMany(packets.what));
        }
    }
}

fn array_of<const N: usize>(body: &mut Bytes) -> Option<[u8; N]> {
    let array = *body.first_chunk()?;
    body.advance(N);
    Some(array)
}

fn u8_of(body: &mut Bytes) -> Option<u8> {
    array_of(body).map(|[byte]| byte)
}

/// Signed, of three bytes.
fn i24_of(body: &mut Bytes) -> Option<i32> {
    array_of(body).map(|[a, b, c]| i32::from_be_bytes([a, b, c, 0]) >> 8)
}

fn split_to(body: &mut Bytes, size: usize) -> Option<Bytes> {
    (size <= body.len()).then(|| body.split_to(size))
}
