//! CMAF headers (`ftyp` + `moov` with one track): ISO/IEC 23000-19 § 7.3, sample entries per ISO/IEC 14496-15,
//! 14496-14 and the codecs' own bindings.

use bytes::Bytes;

use super::boxes::BoxWriter;
use crate::media::{AudioFormat, Codec, Rotation, Size, Track, VideoFormat};

/// The one track of every file here.
pub(super) const TRACK_ID: u32 = 1;

/// One in 16.16.
const UNITY: i32 = 0x0001_0000;

/// The header of a track: what a player reads before its first segment. The same bytes for the same track.
pub fn header(track: &Track) -> Bytes {
    let mut w = BoxWriter::with_capacity(1024);
    w.boxed(*b"ftyp", |w| {
        w.put(b"iso6");
        w.u32(0);
        for brand in [b"iso6", b"cmfc", b"mp41", b"dash"] {
            w.put(brand);
        }
    });
    w.boxed(*b"moov", |w| {
        w.full(*b"mvhd", 0, 0, |w| {
            w.zeros(8);
            w.u32(1_000);
            w.u32(0);
            w.u32(0x0001_0000);
            w.u16(0x0100);
            w.zeros(10);
            matrix(w, Rotation::None, Size { width: 0, height: 0 });
            w.zeros(24);
            w.u32(TRACK_ID + 1);
        });
        trak(w, track);
        w.boxed(*b"mvex", |w| {
            w.full(*b"trex", 0, 0, |w| {
                w.u32(TRACK_ID);
                w.u32(1);
                w.zeros(12);
            });
        });
    });
    w.finish().into()
}

fn trak(w: &mut BoxWriter, track: &Track) {
    let video = track.codec.video();
    w.boxed(*b"trak", |w| {
        // Enabled and in the movie.
        w.full(*b"tkhd", 0, 3, |w| {
            w.zeros(8);
            w.u32(TRACK_ID);
            w.zeros(8);
            w.zeros(8);
            w.u16(0);
            w.u16(0);
            w.u16(if video.is_some() { 0 } else { 0x0100 });
            w.u16(0);
            // As shown, but for the turn that the matrix says (§ 8.3.2).
            let rotation = video.map_or(Rotation::None, |video| video.rotation);
            let shown = video.map_or(Size { width: 0, height: 0 }, |video| rotation.turned(video.display_size()));
            matrix(w, rotation, shown);
            w.u32(shown.width.min(0xFFFF) << 16);
            w.u32(shown.height.min(0xFFFF) << 16);
        });
        if track.delay > 0 {
            // Decode times are written `delay` later than they are, so that they start at the first moment that is
            // meant to be seen or heard; this takes it back (§ 8.6.6).
            w.boxed(*b"edts", |w| {
                w.full(*b"elst", 1, 0, |w| {
                    w.u32(1);
                    w.u64(0);
                    w.u64(track.delay);
                    w.u32(0x0001_0000);
                });
            });
        }
        w.boxed(*b"mdia", |w| {
            w.full(*b"mdhd", 0, 0, |w| {
                w.zeros(8);
                w.u32(track.timescale.get());
                w.u32(0);
                w.u16(packed_language(track));
                w.u16(0);
            });
            w.full(*b"hdlr", 0, 0, |w| {
                w.u32(0);
                w.put(if video.is_some() { b"vide" } else { b"soun" });
                w.zeros(12);
                w.put(if video.is_some() { b"video\0" } else { b"sound\0" });
            });
            if let Some(language) = &track.language
                && language.as_str().len() != 3
            {
                w.full(*b"elng", 0, 0, |w| {
                    w.put(language.as_str().as_bytes());
                    w.u8(0);
                });
            }
            w.boxed(*b"minf", |w| {
                if video.is_some() {
                    w.full(*b"vmhd", 0, 1, |w| w.zeros(8));
                } else {
                    w.full(*b"smhd", 0, 0, |w| w.zeros(4));
                }
                w.boxed(*b"dinf", |w| {
                    w.full(*b"dref", 0, 0, |w| {
                        w.u32(1);
                        w.full(*b"url ", 0, 1, |_| {});
                    });
                });
                w.boxed(*b"stbl", |w| {
                    w.full(*b"stsd", 0, 0, |w| {
                        w.u32(1);
                        sample_entry(w, &track.codec);
                    });
                    for empty in [b"stts", b"stsc", b"stco"] {
                        w.full(*empty, 0, 0, |w| w.u32(0));
                    }
                    w.full(*b"stsz", 0, 0, |w| w.zeros(8));
                });
            });
        });
    });
}

/// The turn about the origin, and the shift that brings the picture back into sight (§ 6.2.2).
fn matrix(w: &mut BoxWriter, rotation: Rotation, size: Size) {
    let (cosine, sine) = rotation.cosine_sine();
    let (width, height) = (size.width.min(0x7FFF).cast_signed() << 16, size.height.min(0x7FFF).cast_signed() << 16);
    let (x, y) = match rotation {
        Rotation::None => (0, 0),
        Rotation::Quarter => (height, 0),
        Rotation::Half => (width, height),
        Rotation::ThreeQuarters => (0, width),
    };
    for value in [cosine * UNITY, sine * UNITY, 0, -sine * UNITY, cosine * UNITY, 0, x, y, 0x4000_0000] {
        w.u32(value.cast_unsigned());
    }
}

/// Three letters of ISO 639-2 in fifteen bits (§ 8.4.2); `und` for everything else, with an `elng` box beside it.
fn packed_language(track: &Track) -> u16 {
    let text = track.language.as_ref().map_or("und", |language| language.as_str());
    let letters = if text.len() == 3 && text.bytes().all(|b| b.is_ascii_lowercase()) { text } else { "und" };
    letters.bytes().fold(0, |packed, letter| packed << 5 | u16::from(letter - 0x60))
}

fn sample_entry(w: &mut BoxWriter, codec: &Codec) {
    match codec {
        Codec::H264 { config, video } => visual(w, *b"avc1", video, |w| w.boxed(*b"avcC", |w| w.put(config))),
        Codec::H265 { config, video } => visual(w, *b"hvc1", video, |w| w.boxed(*b"hvcC", |w| w.put(config))),
        Codec::Av1 { config, video } => visual(w, *b"av01", video, |w| w.boxed(*b"av1C", |w| w.put(config))),
        Codec::Vp9 { config, video } => visual(w, *b"vp09", video, |w| w.full(*b"vpcC", 1, 0, |w| w.put(config))),
        Codec::Aac(aac) => sound(w, *b"mp4a", aac.audio, |w| esds(w, 0x40, &aac.config)),
        Codec::Mp3 { audio } => sound(w, *b"mp4a", *audio, |w| esds(w, 0x6B, &[])),
        Codec::Opus { config, audio } => {
            sound(w, *b"Opus", *audio, |w| w.boxed(*b"dOps", |w| opus_specific(w, config)));
        }
        Codec::Flac { config, audio } => sound(w, *b"fLaC", *audio, |w| {
            w.full(*b"dfLa", 0, 0, |w| {
                // Last metadata block, STREAMINFO, its 24-bit length.
                w.u32(0x8000_0000 | u32::try_from(config.len()).unwrap_or(34) & 0x00FF_FFFF);
                w.put(config);
            });
        }),
        // Sound that is copied here is AAC; the others pass the ladder first.
        Codec::Ac3 { audio } => sound(w, *b"ac-3", *audio, |_| {}),
        Codec::Eac3 { audio } => sound(w, *b"ec-3", *audio, |_| {}),
    }
}

/// `VisualSampleEntry` (§ 12.1.3) with `pasp` and `colr`.
fn visual(w: &mut BoxWriter, kind: [u8; 4], video: &VideoFormat, config: impl FnOnce(&mut BoxWriter)) {
    w.boxed(kind, |w| {
        w.zeros(6);
        w.u16(1);
        w.zeros(16);
        w.u16(u16::try_from(video.size.width).unwrap_or(u16::MAX));
        w.u16(u16::try_from(video.size.height).unwrap_or(u16::MAX));
        w.u32(0x0048_0000);
        w.u32(0x0048_0000);
        w.u32(0);
        w.u16(1);
        w.zeros(32);
        w.u16(0x0018);
        w.u16(0xFFFF);
        config(w);
        w.boxed(*b"pasp", |w| {
            w.u32(video.sample_aspect.0);
            w.u32(video.sample_aspect.1);
        });
        if let Some(color) = video.color {
            w.boxed(*b"colr", |w| {
                w.put(b"nclx");
                w.u16(u16::from(color.primaries));
                w.u16(u16::from(color.transfer));
                w.u16(u16::from(color.matrix));
                w.u8(if color.full_range { 0x80 } else { 0 });
            });
        }
    });
}

/// `AudioSampleEntry` (§ 12.2.3).
fn sound(w: &mut BoxWriter, kind: [u8; 4], audio: AudioFormat, config: impl FnOnce(&mut BoxWriter)) {
    w.boxed(kind, |w| {
        w.zeros(6);
        w.u16(1);
        w.zeros(8);
        w.u16(audio.channels);
        w.u16(16);
        w.zeros(4);
        // 16.16; rates that do not fit are said by the codec's own box.
        w.u32(if audio.sample_rate <= 0xFFFF { audio.sample_rate << 16 } else { 0 });
        config(w);
    });
}

/// `ES_Descriptor` (ISO/IEC 14496-1 § 7.2.6.5) with the decoder's configuration.
fn esds(w: &mut BoxWriter, object_type: u8, specific: &[u8]) {
    let specific_len = u8::try_from(specific.len()).unwrap_or(64).min(64);
    let config_len = 13 + if specific_len > 0 { 2 + specific_len } else { 0 };
    w.full(*b"esds", 0, 0, |w| {
        w.put(&[0x03, 3 + 2 + config_len + 3]);
        w.u16(0);
        w.u8(0);
        w.put(&[0x04, config_len, object_type]);
        // An audio stream, not upstream; no buffer size and rates known ahead.
        w.u8(0x15);
        w.zeros(11);
        if specific_len > 0 {
            w.put(&[0x05, specific_len]);
            w.put(&specific[..usize::from(specific_len)]);
        }
        w.put(&[0x06, 1, 0x02]);
    });
}

/// The Ogg identification header's fields in big-endian order, version 0 (Opus in ISOBMFF § 4.3.2).
fn opus_specific(w: &mut BoxWriter, head: &[u8]) {
    let byte = |at: usize| head.get(at).copied().unwrap_or_default();
    w.u8(0);
    w.u8(byte(1));
    w.u16(u16::from_le_bytes([byte(2), byte(3)]));
    w.u32(u32::from_le_bytes([byte(4), byte(5), byte(6), byte(7)]));
    w.u16(u16::from_le_bytes([byte(8), byte(9)]));
    w.put(head.get(10..).unwrap_or(&[0]));
}
