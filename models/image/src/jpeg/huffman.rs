//! Huffman tables, and tables that step over several coefficients at once.

use super::bits::Bits;

/// Bits that one look into a table takes.
const LOOK: u32 = 10;

/// A Huffman table: symbols by codes of up to 16 bits.
#[derive(Clone)]
pub(crate) struct Huffman {
    /// By the next [`LOOK`] bits: length of the code << 8 | symbol; 0 for longer and unknown codes.
    short: Vec<u16>,
    /// By code length: the first 16 bits, as a number, that are no code of this length or a shorter one.
    ends: [u32; 17],
    /// By code length: what to add to a code to get the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// What one look into a [`Strides`] table says.
#[derive(Clone, Copy)]
pub(crate) struct Stride(u32);

/// By the next [`LOOK`] bits: how many bits the coefficients take that can be told from them.
pub(crate) struct Strides(Vec<Stride>);

impl Huffman {
    /// A table of `counts[i]` codes of length i + 1 for `symbols`; `None` where that is no tree.
    pub(crate) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: vec![0; 1 << LOOK],
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
        Strides((0..1 << LOOK).map(|next| self.stride(next)).collect())
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
        Stride(bits << 16 | places << 1 | u32::from(is_end))
    }
}

impl Stride {
    /// Bits, at most 26; none where a symbol must be looked up by itself.
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        self.0 >> 16
    }

    /// Coefficients stepped over.
    #[inline(always)]
    pub(crate) fn places(self) -> u32 {
        (self.0 & 0xffff) >> 1
    }

    /// Whether the block ends with them.
    #[inline(always)]
    pub(crate) fn is_end(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Strides {
    #[inline(always)]
    pub(crate) fn look(&self, bits: &Bits) -> Stride {
        self.0[bits.peek(LOOK) as usize]
    }
}
