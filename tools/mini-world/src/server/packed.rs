//! Bodies packed by gzip and deflate, without a library: what is stored needs none, and a long run of zeros little.

/// Bytes of a stored block at most.
const BLOCK: usize = 65_535;

/// `bytes` as a raw deflate stream of stored blocks.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at(rest.len().min(BLOCK));
        let length = block.len() as u16;
        packed.push(u8::from(after.is_empty()));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend_from_slice(block);
        if after.is_empty() {
            return packed;
        }
        rest = after;
    }
}

/// `bytes` as deflate, in the frame that the standard of HTTP means by the word (zlib's).
pub(super) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x78, 0x01];
    packed.extend(stored(bytes));
    packed.extend(adler32(bytes).to_be_bytes());
    packed
}

/// `bytes` as gzip.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_frame(&stored(bytes), crc32fast::hash(bytes), bytes.len())
}

/// A gzip of about `count` zeros that takes 1/158 of them.
pub(super) fn gzip_of_zeros(count: usize) -> Vec<u8> {
    /// Zeros that one repetition stands for.
    const RUN: usize = 258;
    let runs = count / RUN;
    let mut bits = Bits::default();
    // The last block, of fixed codes: a literal 0, then the byte before 258 times, again and again.
    bits.push(0b011, 3);
    bits.push_code(0b0011_0000, 8);
    for _ in 0..runs {
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    bits.push_code(0, 7);
    let zeros = vec![0; 1 + runs * RUN];
    gzip_frame(&bits.bytes, crc32fast::hash(&zeros), zeros.len())
}

/// A raw deflate stream in the frame of gzip.
fn gzip_frame(stream: &[u8], crc: u32, length: usize) -> Vec<u8> {
    let head: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let tail = [crc.to_le_bytes(), (length as u32).to_le_bytes()].concat();
    [head, stream, &tail].concat()
}

fn adler32(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 65_521;
    let (mut a, mut b) = (1, 0);
    for byte in bytes {
        a = (a + u32::from(*byte)) % PRIME;
        b = (b + a) % PRIME;
    }
    b << 16 | a
}

/// Bits as deflate writes them: the first one lowest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are used; 0 if all are.
    used: u32,
}

impl Bits {
    /// `count` bits of a number, the lowest first.
    fn push(&mut self, number: u32, count: u32) {
        for at in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((number >> at & 1) as u8) << self.used;
            self.used = (self.used + 1) % 8;
        }
    }

    /// `count` bits of a Huffman code, the highest first.
    fn push_code(&mut self, code: u32, count: u32) {
        for at in (0..count).rev() {
            self.push(code >> at & 1, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, ImageReader};

    use super::*;

    /// A PNG file of a row of gray pixels, whose data is this zlib stream.
    fn png(width: u32, data: &[u8]) -> Vec<u8> {
        let chunk = |kind: &[u8; 4], content: &[u8]| {
            let body = [&kind[..], content].concat();
            let length = (content.len() as u32).to_be_bytes();
            [&length[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
        };
        let size = [width.to_be_bytes(), 1u32.to_be_bytes()].concat();
        let head = [&size[..], &[8, 0, 0, 0, 0]].concat();
        [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            chunk(b"IHDR", &head),
            chunk(b"IDAT", data),
            chunk(b"IEND", b""),
        ]
        .concat()
    }

    fn pixels(png: Vec<u8>) -> Vec<u8> {
        let file = std::io::Cursor::new(png);
        let image = ImageReader::with_format(file, ImageFormat::Png).decode();
        image.expect("a PNG file").into_luma8().into_raw()
    }

    /// The decoder of PNG files reads what is packed here.
    #[test]
    fn packed_bytes_come_back() {
        // A row begins with the number of its filter.
        let row: Vec<u8> = std::iter::once(0)
            .chain((0..100_000u32).map(|n| (n % 251) as u8))
            .collect();
        assert_eq!(pixels(png(100_000, &zlib(&row))), row[1..]);
    }

    #[test]
    fn a_gzip_of_zeros_is_small_and_holds_zeros() {
        let packed = gzip_of_zeros(1 << 20);
        let zeros = (1 << 20) / 258 * 258 + 1;
        assert!(packed.len() < (1 << 20) / 150, "{}", packed.len());
        let stream = &packed[10..packed.len() - 8];
        let check = adler32(&vec![0; zeros]).to_be_bytes();
        let data = [&[0x78, 0x01], stream, &check].concat();
        assert_eq!(pixels(png(zeros as u32 - 1, &data)), vec![0; zeros - 1]);
        let crc = crc32fast::hash(&vec![0; zeros]).to_le_bytes();
        assert_eq!(packed[packed.len() - 8..packed.len() - 4], crc);
        assert_eq!(packed[packed.len() - 4..], (zeros as u32).to_le_bytes());
    }
}
