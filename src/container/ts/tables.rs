//! Program tables: ISO/IEC 13818-1 § 2.4.4.

use super::packets::Packets;
use super::{AUDIO_PID, PAT_PID, PMT_PID, TsError, VIDEO_PID};
use crate::media::{Codec, Track};

/// The two tables of a program.
#[derive(Debug)]
pub(super) struct Tables {
    pat: Vec<u8>,
    pmt: Vec<u8>,
}

impl Tables {
    pub(super) fn new(video: Option<&Track>, audio: Option<&Track>) -> Result<Self, TsError> {
        let pat = section(0x00, &[&[0x00, 0x01], &pid(PMT_PID)[..]].concat());
        let clock = if video.is_some() { VIDEO_PID } else { AUDIO_PID };
        // No descriptors of the program as a whole.
        let mut body = [&pid(clock)[..], &[0xF0, 0x00]].concat();
        for (track, its_pid) in [(video, VIDEO_PID), (audio, AUDIO_PID)] {
            let Some(track) = track else { continue };
            let descriptors = language(track);
            body.push(stream_type(&track.codec)?);
            body.extend_from_slice(&pid(its_pid));
            body.extend_from_slice(&[0xF0, u8::try_from(descriptors.len()).expect("six bytes at most")]);
            body.extend_from_slice(&descriptors);
        }
        Ok(Self { pat, pmt: section(0x02, &body) })
    }

    pub(super) fn write(&self, packets: &mut Packets) {
        packets.write_section(PAT_PID, &self.pat);
        packets.write_section(PMT_PID, &self.pmt);
    }
}

/// Reserved bits and thirteen of a PID.
fn pid(pid: u16) -> [u8; 2] {
    (pid | 0xE000).to_be_bytes()
}

/// Table 2-34.
fn stream_type(codec: &Codec) -> Result<u8, TsError> {
    match codec {
        Codec::H264 { .. } => Ok(0x1B),
        Codec::H265 { .. } => Ok(0x24),
        Codec::Aac(_) => Ok(0x0F),
        other => Err(TsError::Codec(other.label())),
    }
}

/// The `ISO_639_language_descriptor` where the language has three letters.
fn language(track: &Track) -> Vec<u8> {
    match &track.language {
        Some(language) if language.as_str().len() == 3 && track.codec.audio().is_some() => {
            [&[0x0A, 0x04], language.as_str().as_bytes(), &[0x00]].concat()
        }
        _ => Vec::new(),
    }
}

/// A section after its `pointer_field`: program or stream number 1, version 0, current, the only one.
fn section(table: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len() + 9).expect("a table of two tracks fits into a packet");
    let mut bytes = vec![0x00, table, 0xB0, length, 0x00, 0x01, 0xC1, 0x00, 0x00];
    bytes.extend_from_slice(body);
    let crc = crc32(&bytes[1..]);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// Annex A, bit by bit: two short tables a segment.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
    })
}
