//! Huffman tables, and tables that step over several coefficients at once.

use super::bits::Bits;

/// Bits that one look into a table takes.
const LOOK: u32 = 12;
const LOOKS: usize = 1 << LOOK;

/// A Huffman table: symbols by codes of up to 16 bits.
#[derive(Clone)]
pub(crate) struct Huffman {
    /// By the next [`LOOK`] bits: length of the code << 8 | symbol; 0 for longer and unknown codes.
    short: Box<[u16; LOOKS]>,
    /// By code length: the first 16 bits, as a number, that are no code of this length or a shorter one.
    ends: [u32; 17],
    /// By code length: what to add to a code to get the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// What one look into a [`Strides`] table says.
#[derive(Clone, Copy)]
pub(crate) struct Stride(u16);

/// By the next [`LOOK`] bits: how many bits the coefficients take that can be told from them.
pub(crate) struct Strides(Box<[Stride; LOOKS]>);

/// By the next [`LOOK`] bits: the first coefficient, where they hold all of it.
pub(crate) struct Values(Box<[Value; LOOKS]>);

/// What one look into a [`Values`] table says.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    /// Bits of the code and of the value; 0 where they are more than a look takes.
    pub(crate) bits: u8,
    /// Zeros before the coefficient; 64 ends the block.
    pub(crate) zeros: u8,
    pub(crate) value: i16,
}

impl Huffman {
    /// A table of `counts[i]` codes of length i + 1 for `symbols`; `None` where that is no tree.
    pub(crate) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: Box::new([0; LOOKS]),
            ends: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts) {
            table.offsets[length as usize] = index as i32 - code as i32;
            for _ in 0..*count {
                let symbol = *symbols.get(index)?;
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    let places = table.short.get_mut(first..first + (1 << (LOOK - length)))?;
                    places.fill((length as u16) << 8 | u16::from(symbol));
                }
                (code, index) = (code + 1, index + 1);
            }
            // No code is all ones.
            if *count > 0 && code >= 1 << length {
                return None;
            }
            table.ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The next symbol and the length of its code; `None` where there is no such code. Takes nothing.
    #[inline(always)]
    pub(crate) fn look(&self, bits: &Bits) -> Option<(u8, u32)> {
        let short = self.short[bits.peek(LOOK) as usize];
        if short != 0 {
            return Some((short as u8, u32::from(short >> 8)));
        }
        self.look_long(bits.peek(16))
    }

    #[cold]
    fn look_long(&self, next: u32) -> Option<(u8, u32)> {
        let length = (LOOK as usize + 1..=16).find(|length| next < self.ends[*length])?;
        let code = (next >> (16 - length)) as i32;
        let index = usize::try_from(code + self.offsets[length]).ok()?;
        Some((*self.symbols.get(index)?, length as u32))
    }

    /// The table that steps over the coefficients of a sequential scan.
    pub(crate) fn strides(&self) -> Strides {
        Strides(Box::new(std::array::from_fn(|next| {
            self.stride(next as u32)
        })))
    }

    /// The table that reads the coefficients of a sequential scan.
    pub(crate) fn values(&self) -> Values {
        Values(Box::new(std::array::from_fn(|next| {
            let entry = self.short[next];
            let (symbol, length) = (entry as u8, u32::from(entry >> 8));
            let size = u32::from(symbol & 15);
            let bits = match length + size {
                bits @ 1..=LOOK if length > 0 => bits,
                _ => 0,
            };
            let raw = (next as u32) >> (LOOK - bits.min(LOOK)) & ((1 << size) - 1);
            Value {
                bits: bits as u8,
                zeros: zeros_of(symbol),
                value: extend(raw, size) as i16,
            }
        })))
    }

    fn stride(&self, next: u32) -> Stride {
        let (mut bits, mut places, mut is_end) = (0, 0, false);
        while bits < LOOK && !is_end {
            let entry = self.short[(next << bits & ((1 << LOOK) - 1)) as usize];
            let (symbol, length) = (u32::from(entry as u8), u32::from(entry >> 8));
            if entry == 0 || bits + length > LOOK {
                break;
            }
            bits += length + (symbol & 15);
            match (symbol >> 4, symbol & 15) {
                (15, 0) => places += 16,
                (_, 0) => is_end = true,
                (run, _) => places += run + 1,
            }
        }
        // No more than fits: 27 bits at most, and whole blocks are told apart by 64 places.
        Stride((bits << 8 | places.min(64) << 1 | u32::from(is_end)) as u16)
    }
}

impl Stride {
    /// Bits, at most 26; none where a symbol must be looked up by itself.
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.0 >> 8)
    }

    /// Whether it is one, and none of its coefficients are those of the next block.
    #[inline(always)]
    pub(crate) fn is_inside(self, end: u32) -> bool {
        self.bits() > 0 && end < 64
    }

    /// Coefficients stepped over.
    #[inline(always)]
    fn places(self) -> u32 {
        u32::from((self.0 & 0xff) >> 1)
    }

    /// Whether the block ends with them.
    #[inline(always)]
    pub(crate) fn is_end(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Values {
    #[inline(always)]
    pub(crate) fn look(&self, bits: &Bits) -> Value {
        self.0[bits.peek(LOOK) as usize]
    }
}

/// The zeros that a symbol of a sequential scan puts before its coefficient; 64 ends the block.
pub(crate) fn zeros_of(symbol: u8) -> u8 {
    match (symbol >> 4, symbol & 15) {
        (15, 0) => 15,
        (_, 0) => 64,
        (run, _) => run,
    }
}

/// The number that `size` bits stand for: those with a zero in front are negative.
#[inline(always)]
pub(crate) fn extend(raw: u32, size: u32) -> i32 {
    if size == 0 {
        return 0;
    }
    let is_negative = raw >> (size - 1) == 0;
    raw as i32 - if is_negative { (1 << size) - 1 } else { 0 }
}

impl Strides {
    /// The stride from `place` on, and where it ends.
    #[inline(always)]
    pub(crate) fn look(&self, bits: &Bits, place: u32) -> (Stride, u32) {
        let stride = self.0[bits.peek(LOOK) as usize];
        (stride, place + stride.places())
    }
}
