//! Transport packets: ISO/IEC 13818-1 § 2.4.3.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{COUNTER_PERIOD, Unit, pes};

const PACKET: usize = 188;
const PAYLOAD: usize = PACKET - 4;

/// Transport packets in the making, and how many of each PID there are.
#[derive(Debug)]
pub(super) struct Packets {
    bytes: Vec<u8>,
    counts: BTreeMap<u16, usize>,
}

impl Packets {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), counts: BTreeMap::new() }
    }

    /// Packets of this PID so far.
    pub(super) fn count(&self, pid: u16) -> usize {
        self.counts.get(&pid).copied().unwrap_or_default()
    }

    /// A table, which fits into one packet: `section` begins with its `pointer_field`.
    pub(super) fn write_section(&mut self, pid: u16, section: &[u8]) {
        self.header(pid, true, false);
        self.bytes.extend_from_slice(section);
        self.bytes.resize(self.bytes.len() + PAYLOAD - section.len(), 0xFF);
    }

    /// A PES packet. The `last` of its PID is spread so that the number of packets becomes a multiple of 16.
    pub(super) fn write_unit(&mut self, unit: &Unit, pcr: Option<i64>, last: bool) {
        let header = pes::header(unit);
        let mut rest = header.len() + unit.len();
        // Length byte, flags and the clock itself; or length byte and flags for the random access alone.
        let first_adaptation = match pcr {
            Some(_) => 8,
            None if unit.random_access => 2,
            None => 0,
        };
        let needed = (rest + first_adaptation).div_ceil(PAYLOAD);
        let filled =
            if last { (COUNTER_PERIOD - (self.count(unit.pid) + needed) % COUNTER_PERIOD) % COUNTER_PERIOD } else { 0 };
        let mut packets = needed + filled;
        let mut pieces = std::iter::once(&header).chain(&unit.pieces);
        let mut piece: &[u8] = &[];
        let mut first = true;
        while packets > 0 {
            let adaptation = if first { first_adaptation } else { 0 };
            // At least a byte is left for each packet that follows.
            let take = (PAYLOAD - adaptation).min(rest - (packets - 1));
            let stuffed = PAYLOAD - take;
            self.header(unit.pid, first, stuffed > 0);
            if stuffed > 0 {
                self.adaptation(stuffed, if first { pcr } else { None }, first && unit.random_access);
            }
            let mut left = take;
            while left > 0 {
                if piece.is_empty() {
                    piece = pieces.next().expect("the pieces are as long as was counted");
                    continue;
                }
                let (now, later) = piece.split_at(left.min(piece.len()));
                self.bytes.extend_from_slice(now);
                left -= now.len();
                piece = later;
            }
            rest -= take;
            packets -= 1;
            first = false;
        }
    }

    fn header(&mut self, pid: u16, unit_start: bool, adaptation: bool) {
        let count = self.counts.entry(pid).or_default();
        let counter = u8::try_from(*count % COUNTER_PERIOD).expect("below 16");
        *count += 1;
        let [high, low] = pid.to_be_bytes();
        let start = if unit_start { 0x40 } else { 0 };
        let control = if adaptation { 0x30 } else { 0x10 };
        self.bytes.extend_from_slice(&[0x47, start | high, low, control | counter]);
    }

    /// An adaptation field of `size` bytes, its length byte included.
    fn adaptation(&mut self, size: usize, pcr: Option<i64>, random_access: bool) {
        let end = self.bytes.len() + size;
        self.bytes.push(u8::try_from(size - 1).expect("within a packet"));
        if size > 1 {
            self.bytes.push(if random_access { 0x40 } else { 0 } | if pcr.is_some() { 0x10 } else { 0 });
            if let Some(pcr) = pcr {
                let base = pes::wrapped(pcr);
                let field = base << 15 | 0x7E00;
                self.bytes.extend_from_slice(&field.to_be_bytes()[2..]);
            }
        }
        self.bytes.resize(end, 0xFF);
    }

    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}
