//! Writing ISO/IEC 14496-12 boxes into one buffer: sizes are filled in when a box ends.

/// A buffer that boxes are written into.
#[derive(Debug, Default)]
pub(super) struct BoxWriter {
    bytes: Vec<u8>,
}

impl BoxWriter {
    /// With room for `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// A box (§ 4.2) with what `content` writes inside.
    pub(super) fn boxed(&mut self, kind: [u8; 4], content: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u32(0);
        self.put(&kind);
        content(self);
        let size = u32::try_from(self.bytes.len() - start).expect("a header box is far below 4 GiB");
        self.patch_u32(start, size);
    }

    /// A `FullBox`: a box with a version and flags.
    pub(super) fn full(&mut self, kind: [u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Self)) {
        self.boxed(kind, |w| {
            w.u32(u32::from(version) << 24 | flags);
            content(w);
        });
    }

    /// Bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// As many zero bytes.
    pub(super) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// One byte.
    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Big-endian.
    pub(super) fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Big-endian.
    pub(super) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Big-endian.
    pub(super) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// Bytes so far: the position of what is written next.
    pub(super) fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Fills in what was not known yet.
    pub(super) fn patch_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// The bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
