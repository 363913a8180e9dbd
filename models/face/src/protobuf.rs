//! Protocol buffers' wire format, as far as copying an ONNX file with some of its parts exchanged
//! needs it: unlike decoding into structures, this keeps every field that is not known here.

/// Wire types: a number, eight bytes, bytes of a given length, four bytes.
const NUMBER: u64 = 0;
const EIGHT: u64 = 1;
const BYTES: u64 = 2;
const FOUR: u64 = 5;

/// Fields of a message that are read: more than any network has, and no more memory than is there.
const MOST_FIELDS: usize = 1 << 20;

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    /// Its bytes in the message, tag included.
    pub(crate) whole: &'a [u8],
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Field<'a> {
    /// The fields of a message in their order; `None` for bytes that are no message, and for one of
    /// more than a million.
    pub(crate) fn all(message: &'a [u8]) -> Option<Vec<Self>> {
        let (mut fields, mut rest) = (Vec::new(), message);
        while !rest.is_empty() {
            let start = rest;
            let tag = take_number(&mut rest)?;
            let content = match tag & 7 {
                NUMBER => Content::Number(take_number(&mut rest)?),
                EIGHT => take(&mut rest, 8).map(|_| Content::Fixed)?,
                BYTES => {
                    let length = usize::try_from(take_number(&mut rest)?).ok()?;
                    Content::Bytes(take(&mut rest, length)?)
                }
                FOUR => take(&mut rest, 4).map(|_| Content::Fixed)?,
                _ => return None,
            };
            if fields.len() == MOST_FIELDS {
                return None;
            }
            fields.push(Self {
                number: tag >> 3,
                whole: &start[..start.len() - rest.len()],
                content,
            });
        }
        Some(fields)
    }

    /// Its content, if it is text, bytes or a message.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        match self.content {
            Content::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Its content, if it is a number.
    pub(crate) fn value(&self) -> Option<u64> {
        match self.content {
            Content::Number(value) => Some(value),
            _ => None,
        }
    }
}

/// Numbers that are packed in one field's bytes.
pub(crate) fn numbers(mut packed: &[u8]) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    while !packed.is_empty() {
        numbers.push(take_number(&mut packed)?);
    }
    Some(numbers)
}

/// Adds a field of text, bytes or a message.
pub(crate) fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put(message, field << 3 | BYTES);
    put(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Adds a field that is a number.
pub(crate) fn put_number(message: &mut Vec<u8>, field: u64, value: u64) {
    put(message, field << 3 | NUMBER);
    put(message, value);
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec((1u64..1 << 20, prop::option::of(prop::collection::vec(0u8.., 0..40)), 0u64..), 0..20)) {
            let mut message = Vec::new();
            for (number, bytes, value) in &fields {
                match bytes {
                    Some(bytes) => put_bytes(&mut message, *number, bytes),
                    None => put_number(&mut message, *number, *value),
                }
            }
            let found = Field::all(&message).expect("a message");
            prop_assert_eq!(found.len(), fields.len());
            for (field, (number, bytes, value)) in found.iter().zip(&fields) {
                prop_assert_eq!(field.number, *number);
                prop_assert_eq!(field.bytes(), bytes.as_deref());
                prop_assert_eq!(field.value(), bytes.is_none().then_some(*value));
            }
            prop_assert_eq!(found.iter().map(|f| f.whole).collect::<Vec<_>>().concat(), message);
        }

        /// Whatever is read, its fields are the message.
        #[test]
        fn no_bytes_panic(message in prop::collection::vec(0u8.., 0..60)) {
            let _ = numbers(&message);
            if let Some(fields) = Field::all(&message) {
                prop_assert_eq!(fields.iter().map(|f| f.whole).collect::<Vec<_>>().concat(), message);
            }
        }
    }

    #[test]
    fn what_ends_too_soon_is_no_message() {
        assert_eq!(Field::all(&[0x0a, 5, 1, 2]), None);
        assert_eq!(Field::all(&[0x08]), None);
        assert_eq!(Field::all(&[0x0b]), None);
        assert_eq!(numbers(&[0xff; 11]), None);
        assert_eq!(numbers(&[1, 0x80, 1]), Some(vec![1, 128]));
    }
}
