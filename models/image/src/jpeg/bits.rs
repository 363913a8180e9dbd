//! The bits of one stretch of entropy-coded data, up to its marker.

use memchr::memchr;

/// Zeros that must stand behind the data.
const PADDING: usize = 8;

/// Bits, the first of a byte in its highest place. Beyond the end are zeros.
#[derive(Clone, Copy)]
pub(crate) struct Bits<'a> {
    /// The data and its padding.
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the highest place on; what is not filled is zero.
    window: u64,
    /// How many bits of the window are filled.
    held: u32,
}

impl<'a> Bits<'a> {
    /// From data that [`unstuff`] made.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            window: 0,
            held: 0,
        }
    }

    /// Fills the window up to at least 56 bits.
    #[inline(always)]
    pub(crate) fn fill(&mut self) {
        let next = self.bytes.get(self.at..self.at + 8);
        let next: [u8; 8] = next.and_then(|n| n.try_into().ok()).unwrap_or_default();
        self.window |= u64::from_be_bytes(next) >> self.held;
        let taken = (63 - self.held) >> 3;
        self.at += taken as usize;
        self.held += taken * 8;
    }

    /// The next `count` bits, 1 to 32, without taking them.
    #[inline(always)]
    pub(crate) fn peek(&self, count: u32) -> u32 {
        (self.window >> (64 - count)) as u32
    }

    /// Takes `count` bits, at most 56 since the last [`Bits::fill`].
    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.held -= count;
    }

    /// Bits that were taken.
    #[inline(always)]
    fn taken(&self) -> usize {
        self.at * 8 - self.held as usize
    }

    fn bits(&self) -> usize {
        (self.bytes.len() - PADDING) * 8
    }

    /// Whole bytes that were not taken.
    pub(crate) fn left(&self) -> usize {
        self.bits().saturating_sub(self.taken()) / 8
    }

    /// Whether more was taken than there is.
    #[inline(always)]
    pub(crate) fn is_beyond(&self) -> bool {
        self.taken() > self.bits()
    }
}

/// Copies the entropy-coded data at the start of `bytes` to `into` without its stuffed zeros, and puts padding
/// behind it; returns where the marker behind it stands, the end of `bytes` without one.
pub(crate) fn unstuff(bytes: &[u8], into: &mut Vec<u8>) -> usize {
    into.clear();
    let end = copy_unstuffed(bytes, into);
    into.extend_from_slice(&[0; PADDING]);
    end
}

fn copy_unstuffed(bytes: &[u8], into: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(found) = memchr(0xff, &bytes[at..]) {
        let escape = at + found;
        match bytes.get(escape + 1) {
            Some(0) => {
                into.extend_from_slice(&bytes[at..=escape]);
                at = escape + 2;
            }
            // A fill byte: the next one decides.
            Some(0xff) => {
                into.extend_from_slice(&bytes[at..escape]);
                at = escape + 1;
            }
            _ => {
                into.extend_from_slice(&bytes[at..escape]);
                return escape;
            }
        }
    }
    into.extend_from_slice(&bytes[at..]);
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_zeros_go_and_the_marker_is_found() {
        let mut into = Vec::new();
        let at = unstuff(b"\x01\xff\x00\x02\xff\xff\xd9rest", &mut into);
        assert_eq!(
            (at, into.as_slice()),
            (5, &b"\x01\xff\x02\0\0\0\0\0\0\0\0"[..])
        );
        assert_eq!(unstuff(b"ab\xff", &mut into), 2);
        assert_eq!(unstuff(b"ab", &mut into), 2);
        assert_eq!(into, b"ab\0\0\0\0\0\0\0\0");
    }

    proptest::proptest! {
        #[test]
        fn bits_are_those_of_the_bytes(bytes in proptest::collection::vec(0u8.., 0..40), steps in proptest::collection::vec(1u32..17, 0..60)) {
            let all: Vec<u32> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| u32::from(b >> i & 1))).collect();
            let padded = [bytes.as_slice(), &[0; PADDING]].concat();
            let (mut bits, mut at) = (Bits::new(&padded), 0);
            for step in steps {
                bits.fill();
                let expected = (at..at + step as usize).fold(0, |sum, i| sum << 1 | all.get(i).copied().unwrap_or(0));
                proptest::prop_assert_eq!(bits.peek(step), expected);
                bits.skip(step);
                at += step as usize;
                proptest::prop_assert_eq!(bits.is_beyond(), at > all.len());
                if bits.is_beyond() {
                    break;
                }
            }
        }
    }
}
