//! Rows of components brought to the width and height of the image, as libjpeg-turbo does it: by a triangle over
//! the nearest two values where one stands for two, repeated elsewhere.

use super::plane::Plane;

/// A component's pixels, and how many of the image's one of them stands for.
pub(crate) struct Finer<'a> {
    pub(crate) plane: &'a Plane,
    /// Pixels that count, across and down; what is beyond fills up blocks.
    pub(crate) size: [usize; 2],
    pub(crate) coarseness: [usize; 2],
    /// A row before it is made finer, with one more at each side.
    sums: Vec<u16>,
    /// A row of the image's width, or a little more.
    line: Vec<u8>,
}

impl<'a> Finer<'a> {
    pub(crate) fn new(plane: &'a Plane, size: [usize; 2], coarseness: [usize; 2]) -> Self {
        Self {
            plane,
            size,
            coarseness,
            sums: vec![0; size[0] + 2],
            line: vec![0; size[0] * coarseness[0]],
        }
    }

    /// Row `y` of the image, at least as long as it is wide.
    pub(crate) fn row(&mut self, y: usize) -> Option<&[u8]> {
        let near = (y / self.coarseness[1]).min(self.size[1].checked_sub(1)?);
        let own = self.plane.row(near)?.get(..self.size[0])?;
        // Of three pixels and more: two are too few for libjpeg-turbo's loop.
        let is_wide = self.size[0] > 2;
        match self.coarseness {
            [1, 1] => return Some(own),
            [2, 1] if is_wide => {
                let sums = self.sums[1..].iter_mut().zip(own);
                sums.for_each(|(sum, v)| *sum = u16::from(*v));
                self.widen::<1, 2, 2>();
            }
            [1, 2] => {
                let other = self.plane.row(self.other(y, near))?.get(..self.size[0])?;
                let rounding = 1 + (y & 1) as u16;
                for ((to, v), w) in self.line.iter_mut().zip(own).zip(other) {
                    *to = ((u16::from(*v) * 3 + u16::from(*w) + rounding) >> 2) as u8;
                }
            }
            [2, 2] if is_wide => {
                let other = self.plane.row(self.other(y, near))?.get(..self.size[0])?;
                let pairs = self.sums[1..].iter_mut().zip(own).zip(other);
                pairs.for_each(|((sum, v), w)| *sum = u16::from(*v) * 3 + u16::from(*w));
                self.widen::<8, 7, 4>();
            }
            [across, _] => {
                let targets = self.line.chunks_exact_mut(across).zip(own);
                targets.for_each(|(to, v)| to.fill(*v));
            }
        }
        Some(&self.line)
    }

    /// The row that counts a quarter: above for even rows of the image, below for odd ones.
    fn other(&self, y: usize, near: usize) -> usize {
        match y & 1 {
            0 => near.saturating_sub(1),
            _ => (near + 1).min(self.size[1] - 1),
        }
    }

    /// Two of each sum: three quarters of it and one of its neighbour.
    fn widen<const LEFT: u16, const RIGHT: u16, const SHIFT: u16>(&mut self) {
        let last = self.size[0];
        self.sums[0] = self.sums[1];
        self.sums[last + 1] = self.sums[last];
        let (before, after) = (&self.sums[..last], &self.sums[2..]);
        let sums = self.sums[1..].iter().zip(before).zip(after);
        for (to, ((own, before), after)) in self.line.chunks_exact_mut(2).zip(sums) {
            to[0] = ((own * 3 + before + LEFT) >> SHIFT) as u8;
            to[1] = ((own * 3 + after + RIGHT) >> SHIFT) as u8;
        }
    }
}
