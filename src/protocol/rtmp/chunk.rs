//! Chunks to messages (RTMP 1.0 § 5.3), and messages to chunks.
//!
//! Payload is copied once, from the read buffer into its message, as it arrives: however large a chunk is said to be,
//! nothing waits for it to be complete.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Fault, SessionError};

/// A key frame of a 100 Mb/s publisher has about 3 MB.
const MOST_MESSAGE_BYTES: u32 = 8 << 20;
/// Announced by all messages that are not complete yet. Publishers interleave two or three.
const MOST_UNFINISHED_BYTES: usize = 16 << 20;
/// Publishers use five.
const MOST_CHUNK_STREAMS: usize = 64;
/// Reserved when a message begins; a longer one grows as its bytes arrive.
const FIRST_RESERVATION: usize = 1 << 20;
/// In the three-byte field: the real value follows in four bytes.
const EXTENDED: u32 = 0xFF_FFFF;

/// A complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Message type id.
    pub kind: u8,
    /// Message stream id: 0 for the connection.
    pub stream: u32,
    /// Milliseconds, of 32 bits that wrap.
    pub timestamp: u32,
    /// Of this message alone: it keeps no other memory alive.
    pub payload: Bytes,
}

/// Puts messages together.
#[derive(Debug)]
pub struct ChunkReader {
    chunk_size: usize,
    streams: HashMap<u32, ChunkStream>,
    /// The chunk stream whose chunk is being read, and what is still to come of that chunk.
    within: Option<(u32, usize)>,
    /// Announced by unfinished messages.
    unfinished: usize,
    /// Bytes from the connection's start.
    at: u64,
}

#[derive(Debug, Default)]
struct ChunkStream {
    /// The timestamp field as sent: absolute for type 0, a delta otherwise.
    field: u32,
    extended: bool,
    timestamp: u32,
    length: u32,
    kind: u8,
    stream: u32,
    message: Option<BytesMut>,
}

/// A chunk's header, read but not yet believed.
struct Header {
    format: u8,
    chunk_stream: u32,
    bytes: usize,
    field: u32,
    extended: bool,
    length: u32,
    kind: u8,
    stream: u32,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self { chunk_size: 128, streams: HashMap::new(), within: None, unfinished: 0, at: 0 }
    }
}

impl ChunkReader {
    /// One whose first byte is not the connection's first.
    pub fn starting_at(at: u64) -> Self {
        Self { at, ..Self::default() }
    }

    /// Bytes from the connection's start.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The peer's Set Chunk Size (§ 5.4.1). Large ones are harmless here: 2 GiB is legal, and some say it.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), SessionError> {
        match usize::try_from(size) {
            Ok(bytes) if size != 0 && size <= 0x7FFF_FFFF => {
                self.chunk_size = bytes;
                Ok(())
            }
            _ => Err(self.error(Fault::ChunkSize(size))),
        }
    }

    /// The peer's Abort Message (§ 5.4.2).
    pub fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.get_mut(&chunk_stream)
            && stream.message.take().is_some()
        {
            self.unfinished -= usize::try_from(stream.length).unwrap_or_default();
        }
    }

    /// The next message that `input` completes. What is used up is taken out of `input`; `None` leaves a header that is
    /// cut off, or nothing.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, SessionError> {
        loop {
            let (chunk_stream, left) = match self.within {
                Some(within) => within,
                None => match self.begin_chunk(input)? {
                    Some(within) => within,
                    None => return Ok(None),
                },
            };
            let Some(stream) = self.streams.get_mut(&chunk_stream) else { return Ok(None) };
            let length = usize::try_from(stream.length).unwrap_or_default();
            let message = stream.message.get_or_insert_default();
            let take = left.min(input.len());
            message.extend_from_slice(input.get(..take).unwrap_or_default());
            input.advance(take);
            self.at += u64::try_from(take).unwrap_or_default();
            if message.len() >= length {
                self.within = None;
                self.unfinished -= length;
                let payload = stream.message.take().unwrap_or_default().freeze();
                let ChunkStream { kind, stream, timestamp, .. } = *stream;
                return Ok(Some(Message { kind, stream, timestamp, payload }));
            }
            if take < left {
                self.within = Some((chunk_stream, left - take));
                return Ok(None);
            }
            self.within = None;
        }
    }

    /// Reads a chunk's header and takes it out of `input`; `None` when it is cut off. What it yields is the chunk stream
    /// and the chunk's length.
    fn begin_chunk(&mut self, input: &mut BytesMut) -> Result<Option<(u32, usize)>, SessionError> {
        let Some(header) = self.header(input)? else { return Ok(None) };
        if !self.streams.contains_key(&header.chunk_stream) && self.streams.len() == MOST_CHUNK_STREAMS {
            return Err(self.error(Fault::TooManyChunkStreams(MOST_CHUNK_STREAMS)));
        }
        if header.length > MOST_MESSAGE_BYTES {
            return Err(self.error(Fault::MessageTooLong(header.length)));
        }
        let new_length = usize::try_from(header.length).unwrap_or_default();
        let stream = self.streams.entry(header.chunk_stream).or_default();
        if header.format != 3 && stream.message.take().is_some() {
            // A publisher that begins anew in the middle of a message has given it up.
            self.unfinished -= usize::try_from(stream.length).unwrap_or_default();
        }
        if stream.message.is_none() {
            // § 5.3.1.2.4: a type 3 chunk that begins a message repeats the last field as a delta, even one of type 0.
            let timestamp = if header.format == 0 { header.field } else { stream.timestamp.wrapping_add(header.field) };
            stream.timestamp = timestamp;
            stream.field = header.field;
            stream.extended = header.extended;
            stream.length = header.length;
            stream.kind = header.kind;
            stream.stream = header.stream;
            self.unfinished += new_length;
            if self.unfinished > MOST_UNFINISHED_BYTES {
                let unfinished = self.unfinished;
                return Err(self.error(Fault::TooMuchUnfinished(unfinished)));
            }
            stream.message = Some(BytesMut::with_capacity(new_length.min(FIRST_RESERVATION)));
        }
        let have = stream.message.as_ref().map_or(0, BytesMut::len);
        input.advance(header.bytes);
        self.at += u64::try_from(header.bytes).unwrap_or_default();
        Ok(Some((header.chunk_stream, self.chunk_size.min(new_length.saturating_sub(have)))))
    }

    /// § 5.3.1. `None` when it is cut off.
    fn header(&self, input: &[u8]) -> Result<Option<Header>, SessionError> {
        let mut rest = input;
        let Some(first) = take::<1>(&mut rest) else { return Ok(None) };
        let chunk_stream = match first & 0x3F {
            0 => take::<1>(&mut rest).map(|id| id + 64),
            1 => take::<2>(&mut rest).map(|id| (id & 0xFF) * 256 + (id >> 8) + 64),
            id => Some(id),
        };
        let Some(chunk_stream) = chunk_stream else { return Ok(None) };
        let format = u8::try_from(first >> 6).unwrap_or_default();
        let last = self.streams.get(&chunk_stream);
        let missing = || self.error(Fault::NoPreviousChunk(chunk_stream));
        let mut header = match (format, last) {
            (0, _) => Header::new(format, chunk_stream),
            (_, Some(last)) => Header { format, chunk_stream, ..Header::like(last) },
            (_, None) => return Err(missing()),
        };
        if format <= 2 {
            let Some(field) = take::<3>(&mut rest) else { return Ok(None) };
            (header.field, header.extended) = (field, field == EXTENDED);
        }
        if format <= 1 {
            let (Some(length), Some(kind)) = (take::<3>(&mut rest), take::<1>(&mut rest)) else { return Ok(None) };
            (header.length, header.kind) = (length, u8::try_from(kind).unwrap_or_default());
        }
        if format == 0 {
            let Some(stream) = take::<4>(&mut rest) else { return Ok(None) };
            header.stream = stream.swap_bytes(); // the one little-endian field
        }
        if header.extended {
            let mut after = rest;
            let Some(field) = take::<4>(&mut after) else { return Ok(None) };
            // § 5.3.1.3 wants it repeated in type 3 chunks; some publishers do not, and go on with payload.
            let continues = format == 3 && last.is_some_and(|last| last.message.is_some());
            if !continues || field == header.field {
                (header.field, rest) = (field, after);
            }
        }
        header.bytes = input.len() - rest.len();
        Ok(Some(header))
    }

    fn error(&self, fault: Fault) -> SessionError {
        SessionError { at: self.at, fault }
    }
}

impl Header {
    fn new(format: u8, chunk_stream: u32) -> Self {
        Self { format, chunk_stream, bytes: 0, field: 0, extended: false, length: 0, kind: 0, stream: 0 }
    }

    fn like(last: &ChunkStream) -> Self {
        Self {
            field: last.field,
            extended: last.extended,
            length: last.length,
            kind: last.kind,
            stream: last.stream,
            ..Self::new(3, 0)
        }
    }
}

/// A big-endian number of `N` bytes, 4 at most, taken off the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(head.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
}

/// Appends a message as chunks of `chunk_size`, the first of type 0.
pub(super) fn write(out: &mut BytesMut, chunk_stream: u8, kind: u8, stream: u32, payload: &[u8], chunk_size: usize) {
    for (index, part) in payload.chunks(chunk_size).enumerate() {
        if index == 0 {
            out.put_u8(chunk_stream);
            out.put_uint(0, 3); // answers need no time
            out.put_uint(u64::try_from(payload.len()).unwrap_or_default(), 3);
            out.put_u8(kind);
            out.put_u32_le(stream);
        } else {
            out.put_u8(0xC0 | chunk_stream);
        }
        out.put_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(reader: &mut ChunkReader, bytes: &[u8], step: usize) -> Result<Vec<Message>, SessionError> {
        let (mut input, mut messages) = (BytesMut::new(), Vec::new());
        for part in bytes.chunks(step) {
            input.extend_from_slice(part);
            while let Some(message) = reader.next(&mut input)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    /// Type 0 on chunk stream 4, message stream 1, video.
    fn first(timestamp: u32, length: u32) -> Vec<u8> {
        let mut out = BytesMut::new();
        out.put_u8(4);
        out.put_uint(u64::from(timestamp.min(EXTENDED)), 3);
        out.put_uint(u64::from(length), 3);
        out.put_slice(&[9, 1, 0, 0, 0]);
        if timestamp >= EXTENDED {
            out.put_u32(timestamp);
        }
        out.to_vec()
    }

    #[test]
    fn all_four_header_types_keep_time() {
        let mut bytes = first(1_000, 2);
        bytes.extend([b'a', b'b']);
        bytes.extend([0x44, 0, 0, 40, 0, 0, 1, 8, b'c']); // type 1: delta 40, one byte, audio
        bytes.extend([0x84, 0, 0, 20, b'd']); // type 2: delta 20
        bytes.extend([0xC4, b'e']); // type 3: the same delta again
        let messages = read_all(&mut ChunkReader::default(), &bytes, 1).unwrap();
        let seen: Vec<_> = messages.iter().map(|m| (m.timestamp, m.kind, m.stream, m.payload.as_ref())).collect();
        let expected: [(u32, u8, u32, &[u8]); 4] =
            [(1_000, 9, 1, b"ab"), (1_040, 8, 1, b"c"), (1_060, 8, 1, b"d"), (1_080, 8, 1, b"e")];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_type_3_chunk_after_type_0_repeats_its_field_as_ffmpeg_means_it() {
        let mut bytes = first(23, 1);
        bytes.extend([b'a', 0xC4, b'b']);
        let messages = read_all(&mut ChunkReader::default(), &bytes, 99).unwrap();
        assert_eq!(messages[1].timestamp, 46);
    }

    #[test]
    fn an_extended_timestamp_is_read_whether_or_not_type_3_chunks_repeat_it() {
        for repeated in [true, false] {
            let mut bytes = first(0x0100_0000, 200);
            bytes.extend([7; 128]);
            bytes.push(0xC4);
            if repeated {
                bytes.extend([1, 0, 0, 0]);
            }
            bytes.extend([8; 72]);
            let messages = read_all(&mut ChunkReader::default(), &bytes, 50).unwrap();
            assert_eq!((messages[0].timestamp, messages[0].payload.len()), (0x0100_0000, 200));
            assert!(messages[0].payload.ends_with(&[8; 72]));
        }
    }

    #[test]
    fn chunk_stream_ids_of_two_and_three_bytes_are_told_apart() {
        let mut bytes = vec![0, 10]; // 74
        bytes.extend([0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, b'a']);
        bytes.extend([1, 10, 1]); // 330
        bytes.extend([0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, b'b']);
        bytes.extend([0xC0, 10, b'c', 0xC1, 10, 1, b'd']);
        let kinds: Vec<_> = read_all(&mut ChunkReader::default(), &bytes, 3).unwrap().iter().map(|m| m.kind).collect();
        assert_eq!(kinds, [9, 8, 9, 8]);
    }

    #[test]
    fn an_aborted_message_is_forgotten() {
        let mut reader = ChunkReader::default();
        let mut bytes = first(0, 200);
        bytes.extend([1; 128]);
        assert!(read_all(&mut reader, &bytes, 999).unwrap().is_empty());
        reader.abort(4);
        assert_eq!(reader.unfinished, 0);
        let mut bytes = first(5, 1);
        bytes.push(b'x');
        assert_eq!(read_all(&mut reader, &bytes, 999).unwrap()[0].payload.as_ref(), b"x");
    }

    #[test]
    fn too_long_a_message_is_refused_before_memory_is_reserved() {
        let mut reader = ChunkReader::default();
        reader.set_chunk_size(0x7FFF_FFFF).unwrap();
        let error = read_all(&mut reader, &first(0, 0xFF_FFFF), 999).unwrap_err();
        assert_eq!(error, SessionError { at: 0, fault: Fault::MessageTooLong(0xFF_FFFF) });
    }

    #[test]
    fn chunk_sizes_of_zero_and_above_31_bits_are_refused() {
        let mut reader = ChunkReader::default();
        assert!(reader.set_chunk_size(0).is_err());
        assert!(reader.set_chunk_size(0x8000_0000).is_err());
        reader.set_chunk_size(1).unwrap();
        let mut bytes = first(0, 3);
        bytes.extend([b'a', 0xC4, b'b', 0xC4, b'c']);
        assert_eq!(read_all(&mut reader, &bytes, 1).unwrap()[0].payload.as_ref(), b"abc");
    }

    #[test]
    fn chunk_streams_without_number_or_beginning_are_refused() {
        assert_eq!(read_all(&mut ChunkReader::default(), &[0xC4], 1).unwrap_err().fault, Fault::NoPreviousChunk(4));
        let many: Vec<u8> = (0..65_u8).flat_map(|id| [0, id, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0]).collect();
        let error = read_all(&mut ChunkReader::default(), &many, 999).unwrap_err();
        assert_eq!(error.fault, Fault::TooManyChunkStreams(64));
    }

    proptest! {
        #[test]
        fn messages_survive_chunking_and_any_cut_of_the_bytes(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 1..5),
            size in 1_u32..300,
            step in 1_usize..700,
        ) {
            let mut out = BytesMut::new();
            for payload in &payloads {
                write(&mut out, 5, 18, 1, payload, usize::try_from(size).unwrap());
            }
            let mut reader = ChunkReader::default();
            reader.set_chunk_size(size).unwrap();
            let back: Vec<_> = read_all(&mut reader, &out, step).unwrap().iter().map(|m| m.payload.to_vec()).collect();
            prop_assert_eq!(back, payloads);
            prop_assert_eq!(reader.unfinished, 0);
            prop_assert_eq!(reader.at(), u64::try_from(out.len()).unwrap());
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_all(&mut ChunkReader::default(), &bytes, 7);
        }
    }
}
