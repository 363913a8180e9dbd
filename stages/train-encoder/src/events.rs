//! The loss curve as TensorBoard reads it: a file of records, each an `Event` message of Protocol
//! Buffers between its length and checksums. Times in it are step numbers, so that the same training
//! gives the same bytes.

use crate::curve::Point;

/// The curve's points as events with the tags `loss/training` and `loss/validation`.
pub(crate) fn file(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::new();
    record(&mut bytes, &event(0, 3, b"brain.Event:2"));
    for point in points {
        let values = [
            ("loss/training", Some(point.training)),
            ("loss/validation", point.validation),
        ];
        let mut summary = Vec::new();
        for (tag, value) in values {
            if let Some(value) = value {
                let mut scalar = Vec::new();
                field(&mut scalar, 1, tag.as_bytes());
                // Field 2, four bytes: simple_value.
                scalar.push((2 << 3) | 5);
                scalar.extend((value as f32).to_le_bytes());
                field(&mut summary, 1, &scalar);
            }
        }
        record(&mut bytes, &event(point.step, 5, &summary));
    }
    bytes
}

/// An `Event`: wall_time (field 1), step (field 2), and one field of bytes.
fn event(step: u64, number: u8, content: &[u8]) -> Vec<u8> {
    let mut message = vec![(1 << 3) | 1];
    message.extend((step as f64).to_le_bytes());
    message.push(2 << 3);
    varint(&mut message, step);
    field(&mut message, number, content);
    message
}

/// A field of bytes: a string or a message.
fn field(message: &mut Vec<u8>, number: u8, content: &[u8]) {
    message.push((number << 3) | 2);
    varint(message, content.len() as u64);
    message.extend(content);
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// One record: length, its checksum, the bytes, their checksum.
fn record(file: &mut Vec<u8>, content: &[u8]) {
    let length = (content.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_checksum(&length).to_le_bytes());
    file.extend(content);
    file.extend(masked_checksum(content).to_le_bytes());
}

/// CRC-32C, turned and moved so that the checksum of bytes with checksums in them is no accident.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 with Castagnoli's polynomial, bit by bit: these files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRCs, and 32 zeros of RFC 3720.
    #[test]
    fn checksums_are_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_point_is_one_record() {
        let point = Point {
            step: 300,
            training: 0.5,
            validation: None,
        };
        let head = file(&[]);
        let all = file(&[point]);
        assert!(all.starts_with(&head));
        let (length, rest) = all[head.len()..].split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        assert_eq!(rest.len(), 4 + length + 4);
        let message = &rest[4..4 + length];
        let mut expected = vec![0x09];
        expected.extend(300f64.to_le_bytes());
        // step = 300; a summary of 22 bytes with one value of 20: tag, simple_value.
        expected.extend([0x10, 0xac, 0x02, 0x2a, 22, 0x0a, 20, 0x0a, 13]);
        expected.extend(b"loss/training");
        expected.extend([0x15, 0, 0, 0, 0x3f]);
        assert_eq!(message, expected);
        let checksum = masked_checksum(message).to_le_bytes();
        assert_eq!(rest[4 + length..], checksum);
    }
}
