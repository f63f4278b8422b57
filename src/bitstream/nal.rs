//! NAL units: how they lie in an access unit and what they are for (ISO/IEC 14496-15 § 5.3.4.2, ISO/IEC 14496-10
//! Annex B and Table 7-1, ISO/IEC 23008-2 Table 7-1).

use bytes::{BufMut, Bytes, BytesMut};

use super::BitstreamError;

/// Whose NAL units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ISO/IEC 14496-10.
    H264,
    /// ISO/IEC 23008-2.
    H265,
}

/// What a NAL unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of a picture; `true` where decoding can begin (H.264: IDR; H.265: IRAP).
    Slice(bool),
    /// VPS, SPS, PPS and their extensions: they belong into the configuration record.
    ParameterSet,
    /// Access unit delimiter.
    Delimiter,
    /// Bytes that only keep a bit rate up.
    Filler,
    /// SEI, end of sequence, and what newer editions add.
    Other,
}

impl Kind {
    /// By the header; an empty NAL unit is filler.
    pub fn role(self, nal: &[u8]) -> Role {
        let Some(&first) = nal.first() else { return Role::Filler };
        match self {
            // A recovery point SEI on an I picture lets a decoder begin too, but the pictures that follow may refer to
            // ones before it: a segment that starts there would show rubbish.
            Self::H264 => match first & 0x1F {
                1..=4 => Role::Slice(false),
                5 => Role::Slice(true),
                7 | 8 | 13 | 15 => Role::ParameterSet,
                9 => Role::Delimiter,
                12 => Role::Filler,
                _ => Role::Other,
            },
            Self::H265 => match first >> 1 & 0x3F {
                16..=21 => Role::Slice(true),
                0..=31 => Role::Slice(false),
                32..=34 => Role::ParameterSet,
                35 => Role::Delimiter,
                38 => Role::Filler,
                _ => Role::Other,
            },
        }
    }
}

/// The NAL units of an access unit in which each stands after its length of `length_size` bytes. After an error, none.
pub fn length_prefixed(data: &[u8], length_size: usize) -> LengthPrefixed<'_> {
    LengthPrefixed { data, at: 0, length_size }
}

/// See [`length_prefixed`].
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    data: &'a [u8],
    at: usize,
    length_size: usize,
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], BitstreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.data.len() {
            return None;
        }
        let start = self.at;
        self.at = self.data.len();
        let Some(prefix) = self.data.get(start..start + self.length_size) else {
            return Some(Err(BitstreamError::new(start, "a NAL unit's length is cut off")));
        };
        let length = prefix.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        let body = start + self.length_size;
        match body.checked_add(length).and_then(|end| self.data.get(body..end)) {
            Some(nal) => {
                self.at = body + length;
                Some(Ok(nal))
            }
            None => Some(Err(BitstreamError::new(start, "a NAL unit is longer than what is left of its access unit"))),
        }
    }
}

/// The NAL units of a byte stream with start codes, without trailing zeros.
pub fn annex_b(data: &[u8]) -> AnnexB<'_> {
    AnnexB { rest: start_code(data).and_then(|at| data.get(at + 3..)) }
}

/// See [`annex_b`].
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let end = start_code(rest);
            self.rest = end.and_then(|end| rest.get(end + 3..));
            let mut nal = rest.get(..end.unwrap_or(rest.len()))?;
            while let [shorter @ .., 0] = nal {
                nal = shorter;
            }
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    }
}

/// Where `00 00 01` stands next.
fn start_code(data: &[u8]) -> Option<usize> {
    let mut at = 2;
    // The third byte decides how far to jump: one that is not zero can only be the last of a start code.
    while let Some(&third) = data.get(at) {
        match third {
            0 => at += 1,
            1 if data.get(at - 2..at) == Some(&[0, 0]) => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}

/// An access unit as `media::AccessUnit` wants it, and what was found on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// NAL units after 4-byte lengths, without parameter sets, delimiters and filler. The bytes that were given, where
    /// nothing between the first and the last NAL unit had to go.
    pub data: Bytes,
    /// It holds a slice at which decoding can begin.
    pub random_access: bool,
    /// It holds a slice at all.
    pub picture: bool,
    /// The parameter sets that were in it, in their order. Each shares the memory of what was given.
    pub parameter_sets: Vec<Bytes>,
}

/// Brings an access unit with `length_size`-byte lengths into the one form that is packaged.
pub fn normalize(data: &Bytes, length_size: usize, kind: Kind) -> Result<Normalized, BitstreamError> {
    let mut found = Normalized { data: Bytes::new(), random_access: false, picture: false, parameter_sets: Vec::new() };
    // What is kept, as long as it is one run of the given bytes.
    let mut run: Option<(usize, usize)> = None;
    let mut scattered = false;
    let mut at = 0;
    for nal in length_prefixed(data, length_size) {
        let nal = nal?;
        let (start, end) = (at, at + length_size + nal.len());
        at = end;
        match kind.role(nal) {
            Role::ParameterSet => {
                found.parameter_sets.push(data.slice_ref(nal));
                continue;
            }
            Role::Delimiter | Role::Filler => continue,
            Role::Slice(random_access) => {
                found.picture = true;
                found.random_access |= random_access;
            }
            Role::Other => {}
        }
        run = match run {
            None => Some((start, end)),
            Some((first, last)) => {
                scattered |= last != start;
                Some((first, end))
            }
        };
    }
    found.data = match run {
        None => Bytes::new(),
        Some((start, end)) if length_size == 4 && !scattered => data.slice(start..end),
        Some(_) => rewritten(data, length_size, kind),
    };
    Ok(found)
}

/// What is kept, copied behind 4-byte lengths.
fn rewritten(data: &[u8], length_size: usize, kind: Kind) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 64);
    for nal in length_prefixed(data, length_size).map_while(Result::ok) {
        if matches!(kind.role(nal), Role::Slice(_) | Role::Other) {
            push(&mut out, nal);
        }
    }
    out.freeze()
}

/// A byte stream with start codes as NAL units after 4-byte lengths, nothing dropped.
pub fn from_annex_b(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 64);
    for nal in annex_b(data) {
        push(&mut out, nal);
    }
    out.freeze()
}

fn push(out: &mut BytesMut, nal: &[u8]) {
    // A NAL unit of 4 GiB does not fit into any message or sample here.
    out.put_u32(u32::try_from(nal.len()).unwrap_or(u32::MAX));
    out.put_slice(nal);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLICE: &[u8] = &[0x41, 1, 2];
    const IDR: &[u8] = &[0x65, 3, 4, 5];
    const SPS: &[u8] = &[0x67, 6];
    const DELIMITER: &[u8] = &[0x09, 0xF0];
    const FILLER: &[u8] = &[0x0C, 0xFF, 0x80];
    const SEI: &[u8] = &[0x06, 1];

    fn unit(length_size: usize, nals: &[&[u8]]) -> Bytes {
        let mut out = Vec::new();
        for nal in nals {
            out.extend_from_slice(&u32::try_from(nal.len()).unwrap().to_be_bytes()[4 - length_size..]);
            out.extend_from_slice(nal);
        }
        out.into()
    }

    #[test]
    fn an_access_unit_that_is_in_form_already_is_passed_on_without_a_copy() {
        let given = unit(4, &[SEI, IDR]);
        let found = normalize(&given, 4, Kind::H264).unwrap();
        assert_eq!(found.data.as_ptr(), given.as_ptr());
        assert_eq!(found.data, given);
        assert!(found.random_access && found.picture && found.parameter_sets.is_empty());
    }

    #[test]
    fn leading_parameter_sets_and_delimiters_are_cut_off_without_a_copy() {
        let given = unit(4, &[DELIMITER, SPS, IDR, FILLER]);
        let found = normalize(&given, 4, Kind::H264).unwrap();
        assert_eq!(found.data, unit(4, &[IDR]));
        assert_eq!(found.data.as_ptr(), given[12..].as_ptr());
        assert_eq!(found.parameter_sets, [SPS]);
    }

    #[test]
    fn filler_between_slices_and_short_lengths_are_written_anew() {
        let found = normalize(&unit(4, &[SLICE, FILLER, SLICE]), 4, Kind::H264).unwrap();
        assert_eq!(found.data, unit(4, &[SLICE, SLICE]));
        assert!(!found.random_access);
        let found = normalize(&unit(2, &[SEI, IDR]), 2, Kind::H264).unwrap();
        assert_eq!(found.data, unit(4, &[SEI, IDR]));
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error_that_says_where() {
        let error = normalize(&Bytes::from_static(&[0, 0, 0, 1, 0x41, 0, 0, 1, 0, 0x41]), 4, Kind::H264).unwrap_err();
        assert_eq!((error.at, error.what), (5, "a NAL unit is longer than what is left of its access unit"));
        assert!(normalize(&Bytes::from_static(&[0, 0]), 4, Kind::H264).is_err());
    }

    #[test]
    fn hevc_random_access_is_every_irap_picture() {
        for (kind, random_access) in [(1_u8, false), (16, true), (19, true), (20, true), (21, true), (22, false)] {
            let found = normalize(&unit(4, &[&[kind << 1, 1, 0xAA]]), 4, Kind::H265).unwrap();
            assert_eq!((found.picture, found.random_access), (true, random_access), "type {kind}");
        }
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_and_trailing_zeros_are_understood() {
        let stream = [0, 0, 0, 1, 0x67, 6, 0, 0, 0, 1, 0x41, 1, 2, 0, 0, 1, 0x65, 3, 4, 5, 0, 0];
        let nals: Vec<_> = annex_b(&stream).collect();
        assert_eq!(nals, [SPS, SLICE, IDR]);
        assert_eq!(annex_b(&[1, 2, 3]).count(), 0);
    }

    proptest! {
        #[test]
        fn annex_b_and_lengths_hold_the_same_nal_units(nals in prop::collection::vec(prop::collection::vec(1_u8.., 1..40), 0..6)) {
            let mut stream = Vec::new();
            for nal in &nals {
                stream.extend_from_slice(&[0, 0, 1]);
                stream.extend_from_slice(nal);
            }
            let lengths = from_annex_b(&stream);
            let back: Vec<Vec<u8>> = length_prefixed(&lengths, 4).map(|nal| nal.unwrap().to_vec()).collect();
            prop_assert_eq!(back, nals);
        }

        #[test]
        fn whatever_comes_in_never_panics_and_what_goes_out_is_in_form(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..=4) {
            let _ = annex_b(&bytes).count();
            for kind in [Kind::H264, Kind::H265] {
                if let Ok(found) = normalize(&Bytes::copy_from_slice(&bytes), size, kind) {
                    let again = normalize(&found.data, 4, kind).unwrap();
                    prop_assert_eq!(&again.data, &found.data);
                    prop_assert!(again.parameter_sets.is_empty());
                }
            }
        }
    }
}
