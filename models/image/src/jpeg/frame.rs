//! The frame of a JPEG, its scans, and where the blocks of a scan stand.

use super::huffman::{Huffman, Strides, Values};

/// What a frame header says.
pub(crate) struct Frame {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) is_progressive: bool,
    pub(crate) components: Vec<Component>,
}

/// A component of a frame.
pub(crate) struct Component {
    pub(crate) id: u8,
    /// Sampling factors, 1 to 4.
    pub(crate) across: usize,
    pub(crate) down: usize,
    pub(crate) quantization: usize,
    /// Blocks of a scan of this component alone.
    pub(crate) blocks: [usize; 2],
    /// Blocks from one row to the next where blocks are kept, whole MCUs.
    pub(crate) stride: usize,
    pub(crate) rows: usize,
}

impl Frame {
    /// From a frame header's content; `None` for what no decoder here takes.
    pub(crate) fn parse(content: &[u8], is_progressive: bool) -> Option<Self> {
        let &[8, h1, h0, w1, w0, count, ..] = content else {
            return None;
        };
        let (width, height) = (
            usize::from(w1) << 8 | usize::from(w0),
            usize::from(h1) << 8 | usize::from(h0),
        );
        let listed = content.get(6..6 + 3 * usize::from(count))?;
        let mut components: Vec<Component> = listed.chunks_exact(3).map(Component::parse).collect();
        let legal = |c: &Component| (1..=4).contains(&c.across) && (1..=4).contains(&c.down);
        if width == 0 || height == 0 || !(1..=4).contains(&count) || !components.iter().all(legal) {
            return None;
        }
        let across = components.iter().map(|c| c.across).max()?;
        let down = components.iter().map(|c| c.down).max()?;
        for c in &mut components {
            c.blocks = [
                (width * c.across).div_ceil(across).div_ceil(8),
                (height * c.down).div_ceil(down).div_ceil(8),
            ];
            c.stride = width.div_ceil(across * 8) * c.across;
            c.rows = height.div_ceil(down * 8) * c.down;
        }
        Some(Self {
            width,
            height,
            is_progressive,
            components,
        })
    }

    /// Pixels of the image that one of a component stands for, across and down; 0 where that is no whole number.
    pub(crate) fn coarseness(&self, component: &Component) -> [usize; 2] {
        let most = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        let times = |most: usize, own: usize| match most % own {
            0 => most / own,
            _ => 0,
        };
        [
            times(most(|c| c.across), component.across),
            times(most(|c| c.down), component.down),
        ]
    }

    /// Gray, three colours or four, each of which has a whole number of pixels of the image to one of its own.
    pub(crate) fn is_readable(&self) -> bool {
        let is_whole = |c: &Component| !self.coarseness(c).contains(&0);
        matches!(self.components.len(), 1 | 3 | 4) && self.components.iter().all(is_whole)
    }

    /// Pixels of a component that count, across and down.
    pub(crate) fn size_of(&self, component: &Component) -> [usize; 2] {
        let [across, down] = self.coarseness(component).map(|times| times.max(1));
        [self.width.div_ceil(across), self.height.div_ceil(down)]
    }

    /// Gray, or three colours of which only the first may be finer than the others.
    pub(crate) fn is_common(&self) -> bool {
        let factors = |c: &Component| (c.across, c.down);
        match self.components.as_slice() {
            [gray] => factors(gray) == (1, 1),
            [first, others @ ..] if others.len() == 2 => {
                matches!(factors(first), (1 | 2, 1 | 2))
                    && others.iter().all(|c| factors(c) == (1, 1))
            }
            _ => false,
        }
    }
}

impl Component {
    fn parse(listed: &[u8]) -> Self {
        Self {
            id: listed[0],
            across: usize::from(listed[1] >> 4),
            down: usize::from(listed[1] & 15),
            quantization: usize::from(listed[2]),
            blocks: [0; 2],
            stride: 0,
            rows: 0,
        }
    }
}

/// One scan: which components, how their coefficients are coded.
pub(crate) struct Scan<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) members: Vec<Member<'a>>,
    /// First and last coefficient, in zigzag order.
    pub(crate) band: [u32; 2],
    /// Whether bits of coefficients are refined that an earlier scan began.
    pub(crate) is_refinement: bool,
    /// The lowest bit that this scan codes.
    pub(crate) low: u32,
}

/// A component in a scan, with its tables.
pub(crate) struct Member<'a> {
    pub(crate) index: usize,
    pub(crate) dc: Option<&'a Huffman>,
    pub(crate) ac: Option<&'a Huffman>,
    pub(crate) strides: Option<&'a Strides>,
    pub(crate) values: Option<&'a Values>,
}

impl Scan<'_> {
    /// Rows of MCUs, and MCUs of a row.
    pub(crate) fn mcus(&self) -> [usize; 2] {
        let of = |member: &Member| &self.frame.components[member.index];
        match self.members.as_slice() {
            [alone] => [of(alone).blocks[1], of(alone).blocks[0]],
            members => members.first().map_or([0; 2], |m| {
                [of(m).rows / of(m).down, of(m).stride / of(m).across]
            }),
        }
    }

    /// The blocks of one MCU, in the order of the file.
    pub(crate) fn blocks_of_mcu(&self) -> Vec<McuBlock<'_>> {
        let each = |(number, member)| {
            let of @ [wide, high] = self.blocks_of(member);
            let places = (0..high).flat_map(move |down| (0..wide).map(move |right| (down, right)));
            places.map(move |(down, right)| McuBlock {
                number,
                member,
                of,
                down,
                right,
            })
        };
        self.members.iter().enumerate().flat_map(each).collect()
    }

    /// Blocks of a component in one MCU, across and down.
    fn blocks_of(&self, member: &Member) -> [usize; 2] {
        let component = &self.frame.components[member.index];
        match self.members.len() {
            1 => [1, 1],
            _ => [component.across, component.down],
        }
    }
}

/// A block of an MCU.
pub(crate) struct McuBlock<'a> {
    /// Of its component among those of the scan.
    pub(crate) number: usize,
    pub(crate) member: &'a Member<'a>,
    /// Blocks of its component in the MCU, across and down.
    of: [usize; 2],
    /// Which one of them it is.
    down: usize,
    right: usize,
}

impl McuBlock<'_> {
    /// Row and column of this block of an MCU in its component.
    #[inline(always)]
    pub(crate) fn at(&self, [row, column]: [usize; 2]) -> [usize; 2] {
        let [wide, high] = self.of;
        [row * high + self.down, column * wide + self.right]
    }
}

/// The mean of each block of the first component.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means {
    /// Size of the image in pixels.
    pub(crate) size: [usize; 2],
    /// Blocks, across and down.
    pub(crate) blocks: [usize; 2],
    /// Row by row, 0 to 255 (beyond, where the file says so).
    pub(crate) values: Vec<f32>,
}
