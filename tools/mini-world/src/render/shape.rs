//! Soft shapes on a plane, with bounds, so that most tiles can skip most shapes.

use super::lane::{LANES, Lane, lane, power, smooth};

/// The points of one tile on a plane: in the image or on the face.
pub(super) struct Points {
    pub(super) x: Lane,
    pub(super) y: Lane,
    bounds: Bounds,
}

/// The smallest box around some points, or around a shape.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    low: [f32; 2],
    high: [f32; 2],
}

impl Points {
    pub(super) fn new(x: Lane, y: Lane) -> Self {
        let mut bounds = Bounds {
            low: [x[0], y[0]],
            high: [x[0], y[0]],
        };
        for i in 1..LANES {
            bounds.low = [bounds.low[0].min(x[i]), bounds.low[1].min(y[i])];
            bounds.high = [bounds.high[0].max(x[i]), bounds.high[1].max(y[i])];
        }
        Self { x, y, bounds }
    }

    /// Whether no point lies in the box.
    pub(super) fn miss(&self, shape: &Bounds) -> bool {
        (0..2).any(|k| self.bounds.low[k] > shape.high[k] || self.bounds.high[k] < shape.low[k])
    }
}

impl Bounds {
    /// The box around a centre.
    pub(super) fn around(centre: [f32; 2], reach: [f32; 2]) -> Self {
        let side = |sign: f32| [centre[0] + sign * reach[0], centre[1] + sign * reach[1]];
        Self {
            low: side(-1.0),
            high: side(1.0),
        }
    }
}

/// A super-ellipse with a soft edge: 1 inside, 0 outside.
pub(super) struct Blob {
    centre: [f32; 2],
    radius: [f32; 2],
    /// Width of the edge on either side, as a share of the radius.
    soft: f32,
    cosine: f32,
    sine: f32,
    /// 2: an ellipse; more: towards a rectangle; less: towards a rhombus. At least 1.
    exponent: f32,
    bounds: Bounds,
}

impl Blob {
    pub(super) fn new(centre: [f32; 2], radius: [f32; 2], soft: f32) -> Self {
        Self {
            centre,
            radius,
            soft,
            cosine: 1.0,
            sine: 0.0,
            exponent: 2.0,
            bounds: Bounds::around(centre, radius),
        }
        .bounded()
    }

    /// Turned by an angle in radians.
    pub(super) fn turned(self, angle: f32) -> Self {
        Self {
            cosine: angle.cos(),
            sine: angle.sin(),
            ..self
        }
        .bounded()
    }

    pub(super) fn squared(self, exponent: f32) -> Self {
        Self { exponent, ..self }
    }

    fn bounded(mut self) -> Self {
        let reach = self.radius.map(|radius| radius.abs() * (1.0 + self.soft));
        let (cosine, sine) = (self.cosine.abs(), self.sine.abs());
        let turned = [
            cosine * reach[0] + sine * reach[1],
            sine * reach[0] + cosine * reach[1],
        ];
        self.bounds = Bounds::around(self.centre, turned);
        self
    }

    /// How much of each point the shape covers; `None`: of none.
    #[inline]
    pub(super) fn mask(&self, points: &Points) -> Option<Lane> {
        if points.miss(&self.bounds) {
            return None;
        }
        let inverse = 1.0 / self.exponent;
        Some(match self.exponent {
            2.0 => self.edge(points, |x, y| (x * x + y * y).sqrt()),
            4.0 => self.edge(points, |x, y| (x * x * x * x + y * y * y * y).sqrt().sqrt()),
            exponent => self.edge(points, |x, y| {
                power(power(x.abs(), exponent) + power(y.abs(), exponent), inverse)
            }),
        })
    }

    /// As [`Blob::mask`], with zeros for nothing.
    pub(super) fn mask_or_zero(&self, points: &Points) -> Lane {
        self.mask(points).unwrap_or([0.0; LANES])
    }

    #[inline(always)]
    fn edge(&self, points: &Points, distance: impl Fn(f32, f32) -> f32) -> Lane {
        let (inner, outer) = (1.0 - self.soft, 1.0 + self.soft);
        let inverse = self.radius.map(|radius| 1.0 / radius);
        lane(|i| {
            let (dx, dy) = (points.x[i] - self.centre[0], points.y[i] - self.centre[1]);
            let x = (self.cosine * dx + self.sine * dy) * inverse[0];
            let y = (self.cosine * dy - self.sine * dx) * inverse[1];
            1.0 - smooth(inner, outer, distance(x, y))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(spread: f32) -> Points {
        Points::new(
            lane(|i| (i as f32 / 31.0 - 0.5) * spread),
            lane(|i| ((i * 7 % 32) as f32 / 31.0 - 0.5) * spread),
        )
    }

    #[test]
    fn mask_is_none_only_outside_the_shape() {
        let mut skipped = 0;
        for exponent in [1.7, 2.0, 4.0] {
            for step in 0..400 {
                let angle = step as f32 * 0.37;
                let centre = [
                    (step % 20) as f32 * 0.2 - 2.0,
                    (step / 20) as f32 * 0.2 - 2.0,
                ];
                let blob = Blob::new(centre, [0.9, 0.3], 0.25)
                    .turned(angle)
                    .squared(exponent);
                if blob.mask(&points(1.0)).is_none() {
                    skipped += 1;
                    let unbounded = Blob {
                        bounds: Bounds::around(centre, [1e9; 2]),
                        ..blob
                    };
                    assert!(
                        unbounded
                            .mask_or_zero(&points(1.0))
                            .iter()
                            .all(|&m| m < 1e-6)
                    );
                }
            }
        }
        assert!((1..1200).contains(&skipped), "{skipped}");
    }

    #[test]
    fn mask_is_one_inside_and_none_outside() {
        let blob = Blob::new([0.0, 0.0], [0.5, 0.5], 0.2);
        assert!(blob.mask_or_zero(&points(0.2)).iter().all(|&m| m == 1.0));
        assert!(
            blob.mask(&Points::new([0.7; LANES], [0.0; LANES]))
                .is_none()
        );
    }
}
