//! Bits, most significant first, and Exp-Golomb codes (ISO/IEC 14496-10 § 9.1). For headers: clear rather than fast.

use std::borrow::Cow;

use super::BitstreamError;

/// A place in some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    /// Bits from the start.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The byte that holds the next bit.
    pub(crate) fn at_byte(&self) -> usize {
        self.at / 8
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.at)
    }

    pub(crate) fn error(&self, what: &'static str) -> BitstreamError {
        BitstreamError::new(self.at_byte(), what)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, BitstreamError> {
        let byte = self.data.get(self.at / 8).ok_or_else(|| self.error("ends too early"))?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// `count` bits, 32 at most.
    pub(crate) fn u(&mut self, count: u32) -> Result<u32, BitstreamError> {
        debug_assert!(count <= 32, "a u32 holds 32 bits");
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// Eight bits.
    pub(crate) fn byte(&mut self) -> Result<u8, BitstreamError> {
        let mut value = 0;
        for _ in 0..8 {
            value = value << 1 | u8::from(self.flag()?);
        }
        Ok(value)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), BitstreamError> {
        if self.left() < count {
            return Err(self.error("ends too early"));
        }
        self.at += count;
        Ok(())
    }

    /// `ue(v)`.
    pub(crate) fn ue(&mut self) -> Result<u32, BitstreamError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return Err(self.error("Exp-Golomb code of more than 32 bits"));
            }
        }
        // Up to 2^32 - 2: fits, because there are 31 zeros at most.
        let base = (1_u64 << zeros) - 1;
        let value = base + u64::from(self.u(zeros)?);
        u32::try_from(value).map_err(|_| self.error("Exp-Golomb code of more than 32 bits"))
    }

    /// `ue(v)` that the standard bounds.
    pub(crate) fn ue_to(&mut self, most: u32, what: &'static str) -> Result<u32, BitstreamError> {
        let value = self.ue()?;
        if value > most { Err(self.error(what)) } else { Ok(value) }
    }

    /// `se(v)`.
    pub(crate) fn se(&mut self) -> Result<i64, BitstreamError> {
        let code = i64::from(self.ue()?);
        Ok(if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 })
    }
}

/// A NAL unit without its emulation prevention bytes (ISO/IEC 14496-10 § 7.4.1).
pub(crate) fn unescape(nal: &[u8]) -> Cow<'_, [u8]> {
    if !nal.windows(3).any(|w| w == [0, 0, 3]) {
        return Cow::Borrowed(nal);
    }
    let mut clean = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        clean.push(byte);
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_read_as_the_table_says() {
        // 1 | 010 | 011 | 00100 | 00101: 0 1 2 3 4
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let codes: Vec<_> = (0..5).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut bits = Bits::new(&[0b0100_1100, 0b1000_0101, 0b0000_0000]);
        let codes: Vec<_> = (0..4).map(|_| bits.se().unwrap()).collect();
        assert_eq!(codes, [1, -1, 2, -2]);
    }

    #[test]
    fn a_code_that_is_too_long_or_cut_off_is_an_error() {
        assert_eq!(Bits::new(&[0; 9]).ue().unwrap_err().what, "Exp-Golomb code of more than 32 bits");
        assert_eq!(Bits::new(&[0, 0]).ue().unwrap_err().what, "ends too early");
        assert_eq!(Bits::new(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]).ue().unwrap(), u32::MAX - 1);
    }

    #[test]
    fn emulation_prevention_goes_and_nothing_else_does() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3]).as_ref(), [0, 0, 1, 0, 0, 0, 0, 3]);
        assert!(matches!(unescape(&[0, 3, 0, 3]), Cow::Borrowed(_)));
    }
}
