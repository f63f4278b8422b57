//! AMF0 (Adobe Action Message Format 0), as far as RTMP's commands and FLV's script tags use it. Here because both need
//! it. Our own, because scuffle-amf0's reader recurses as deep as the peer likes.

use bytes::{BufMut, BytesMut};

use super::BitstreamError;

/// A value. Dates are numbers, undefined is null, a typed object is an object.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are AMF0's own words")]
pub enum Value {
    Number(f64),
    Boolean(bool),
    Text(String),
    /// In the order in which it was sent. An ECMA array is the same.
    Object(Vec<(String, Self)>),
    Null,
    List(Vec<Self>),
}

/// Objects in objects. Publishers use three; each costs a stack frame.
const MOST_LEVELS: u32 = 16;

impl Value {
    /// A number's value.
    pub fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// A text's value.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A property of an object.
    pub fn property(&self, name: &str) -> Option<&Self> {
        let Self::Object(properties) = self else { return None };
        properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// An object, for answers.
    pub fn object<const N: usize>(properties: [(&str, Self); N]) -> Self {
        Self::Object(properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Appends it as it is sent.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                out.put_u8(0);
                out.put_f64(*number);
            }
            Self::Boolean(value) => out.put_slice(&[1, u8::from(*value)]),
            Self::Text(text) => {
                out.put_u8(2);
                put_text(out, text);
            }
            Self::Object(properties) => {
                out.put_u8(3);
                for (key, value) in properties {
                    put_text(out, key);
                    value.write(out);
                }
                out.put_slice(&[0, 0, 9]);
            }
            Self::Null => out.put_u8(5),
            Self::List(values) => {
                out.put_u8(10);
                out.put_u32(u32::try_from(values.len()).unwrap_or_default());
                values.iter().for_each(|value| value.write(out));
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// 64 KiB at most; what is longer is cut: only descriptions are of any length.
fn put_text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    out.put_u16(u16::try_from(text.len()).unwrap_or_default());
    out.put_slice(text.as_bytes());
}

/// The values that follow each other. What comes after the first that cannot be read is left out, as publishers append
/// things of their own; an error when not even the first can.
pub fn read_values(data: &[u8]) -> Result<Vec<Value>, BitstreamError> {
    let mut reader = Reader { data, at: 0 };
    let mut values = vec![reader.value(0)?];
    while reader.at < data.len() {
        match reader.value(0) {
            Ok(value) => values.push(value),
            Err(_) => break,
        }
    }
    Ok(values)
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, level: u32) -> Result<Value, BitstreamError> {
        if level > MOST_LEVELS {
            return Err(self.error("objects in objects, too many levels"));
        }
        let [marker] = self.array()?;
        Ok(match marker {
            0 => Value::Number(f64::from_be_bytes(self.array()?)),
            1 => Value::Boolean(self.array::<1>()? != [0]),
            2 => Value::Text(self.short_text()?),
            3 => Value::Object(self.properties(level)?),
            5 | 6 => Value::Null,
            8 => {
                // The count of an ECMA array is a hint, and often wrong.
                self.array::<4>()?;
                Value::Object(self.properties(level)?)
            }
            10 => {
                let count = u32::from_be_bytes(self.array()?);
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(level + 1)?);
                }
                Value::List(values)
            }
            11 => {
                let date = f64::from_be_bytes(self.array()?);
                self.array::<2>()?;
                Value::Number(date)
            }
            12 | 15 => {
                let length = u32::from_be_bytes(self.array()?);
                Value::Text(self.text(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            16 => {
                self.short_text()?;
                Value::Object(self.properties(level)?)
            }
            _ => return Err(self.error("a marker that AMF0 does not have, or no publisher uses")),
        })
    }

    fn properties(&mut self, level: u32) -> Result<Vec<(String, Value)>, BitstreamError> {
        let mut properties = Vec::new();
        loop {
            let key = self.short_text()?;
            if key.is_empty() && self.data.get(self.at) == Some(&9) {
                self.at += 1;
                return Ok(properties);
            }
            properties.push((key, self.value(level + 1)?));
        }
    }

    fn short_text(&mut self) -> Result<String, BitstreamError> {
        let length = u16::from_be_bytes(self.array()?);
        self.text(usize::from(length))
    }

    fn text(&mut self, length: usize) -> Result<String, BitstreamError> {
        let end = self.at.checked_add(length).ok_or_else(|| self.error("ends too early"))?;
        let bytes = self.data.get(self.at..end).ok_or_else(|| self.error("ends too early"))?;
        self.at = end;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BitstreamError> {
        let array =
            self.data.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(|| self.error("ends too early"))?;
        self.at += N;
        Ok(*array)
    }

    fn error(&self, what: &'static str) -> BitstreamError {
        BitstreamError::new(self.at, what)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &Value) -> BytesMut {
        let mut out = BytesMut::new();
        value.write(&mut out);
        out
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e9_f64..1e9).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            "[a-z]{0,9}".prop_map(Value::Text),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec(("[a-z]{1,5}", inner), 0..4).prop_map(Value::Object),
            ]
        })
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        let lists = [10, 0, 0, 0, 1].repeat(100_000);
        assert_eq!(read_values(&lists).unwrap_err().what, "objects in objects, too many levels");
    }

    #[test]
    fn a_list_that_claims_four_billion_values_reserves_nothing() {
        assert_eq!(read_values(&[10, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap_err().what, "ends too early");
    }

    #[test]
    fn what_follows_an_unreadable_value_is_left_out() {
        assert_eq!(read_values(&[1, 1, 17, 4, 4]).unwrap(), [Value::Boolean(true)]);
        assert!(read_values(&[17]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            prop_assert_eq!(read_values(&written(&value)).unwrap(), vec![value]);
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_values(&bytes);
        }
    }
}
