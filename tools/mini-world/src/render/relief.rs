//! The head's fine relief (nose, sockets, lips), as a height over the ellipsoid, and the slopes
//! that bend its light.

use super::anatomy::Anatomy;
use super::face::nose_tip;
use super::grid::{SAMPLES, TILES_ACROSS, TILES_DOWN};
use super::head::{Ellipsoid, Hits, face_points, hair_axes, head_axes};
use super::lane::{COLUMNS, LANES, Lane, ROWS, exp, lane, smooth};
use super::shape::{Blob, Bounds, Points};
use super::view::View;

/// The head under every tile that it, or its hair, touches.
pub(super) struct Relief {
    tiles: Vec<Option<Tile>>,
    /// Heights by sample, row by row.
    heights: Vec<f32>,
    /// 1 / distance of two samples.
    resolution: f32,
}

/// The head under one tile.
pub(super) struct Tile {
    pub(super) head: Hits,
    pub(super) face: Points,
}

/// How fast the height grows to the right and up.
pub(super) struct Slopes {
    right: Lane,
    up: Lane,
}

impl Relief {
    pub(super) fn new(view: &View<'_>) -> Self {
        let mut relief = Self {
            tiles: Vec::with_capacity(TILES_ACROSS * TILES_DOWN),
            heights: vec![0.0; SAMPLES * SAMPLES],
            resolution: SAMPLES as f32 * view.scene.scale / 2.0,
        };
        let bumps = Bumps::new(view.anatomy);
        let head = Ellipsoid::new(&view.pose, head_axes(view.anatomy));
        let hair = Ellipsoid::new(&view.pose, hair_axes(view.anatomy));
        for down in 0..TILES_DOWN {
            for across in 0..TILES_ACROSS {
                let plane = view.plane(across, down);
                let tile = hair.hits(&plane).near().then(|| {
                    let hits = head.hits(&plane);
                    Tile {
                        face: face_points(view.anatomy, &hits),
                        head: hits,
                    }
                });
                if let Some(tile) = &tile {
                    relief.set(across, down, &bumps.height(&tile.face));
                }
                relief.tiles.push(tile);
            }
        }
        relief
    }

    /// The head under a tile; `None` where neither head nor hair is.
    pub(super) fn tile(&self, across: usize, down: usize) -> Option<&Tile> {
        self.tiles.get(down * TILES_ACROSS + across)?.as_ref()
    }

    fn set(&mut self, across: usize, down: usize, heights: &Lane) {
        for (row, heights) in heights.chunks_exact(COLUMNS).enumerate() {
            let start = (down * ROWS + row) * SAMPLES + across * COLUMNS;
            self.heights[start..start + COLUMNS].copy_from_slice(heights);
        }
    }

    /// Differences of the samples on either side; at the image's edge, of the sample and its one
    /// neighbour.
    pub(super) fn slopes(&self, across: usize, down: usize) -> Slopes {
        let mut slopes = Slopes {
            right: [0.0; LANES],
            up: [0.0; LANES],
        };
        for row in 0..ROWS {
            let y = down * ROWS + row;
            let (above, below) = (y.saturating_sub(1), (y + 1).min(SAMPLES - 1));
            let vertical = self.resolution / (below - above) as f32;
            for column in 0..COLUMNS {
                let x = across * COLUMNS + column;
                let (left, right) = (x.saturating_sub(1), (x + 1).min(SAMPLES - 1));
                let horizontal = self.resolution / (right - left) as f32;
                let i = row * COLUMNS + column;
                slopes.right[i] = (self.heights[y * SAMPLES + right]
                    - self.heights[y * SAMPLES + left])
                    * horizontal;
                slopes.up[i] = (self.heights[above * SAMPLES + x]
                    - self.heights[below * SAMPLES + x])
                    * vertical;
            }
        }
        slopes
    }
}

impl Slopes {
    /// Surface directions bent by the slopes, of length 1.
    pub(super) fn bend(&self, [x, y, z]: [Lane; 3]) -> [Lane; 3] {
        let x = lane(|i| x[i] - 0.8 * self.right[i]);
        let y = lane(|i| y[i] - 0.8 * self.up[i]);
        let inverse = lane(|i| 1.0 / (x[i] * x[i] + y[i] * y[i] + z[i] * z[i]).sqrt());
        [x, y, z].map(|axis| lane(|i| axis[i] * inverse[i]))
    }
}

/// The parts of the relief.
struct Bumps {
    nose_tip: f32,
    nose_root: f32,
    /// Half-width of the nose's ridge.
    ridge: f32,
    ridge_bounds: Bounds,
    tip: Blob,
    nose_relief: f32,
    sockets: [Blob; 2],
    lips: Blob,
}

impl Bumps {
    fn new(anatomy: &Anatomy) -> Self {
        let (nose_tip, nose_root) = (nose_tip(anatomy), anatomy.eye_height);
        let ridge = anatomy.nose_width * 0.55;
        let (low, high) = (nose_tip - 0.06, nose_root + 0.2);
        Self {
            nose_tip,
            nose_root,
            ridge,
            // Beyond four half-widths the ridge is below 1e-7.
            ridge_bounds: Bounds::around(
                [0.0, (low + high) / 2.0],
                [4.0 * ridge, (high - low) / 2.0],
            ),
            tip: Blob::new([0.0, nose_tip], [anatomy.nose_width, 0.085], 0.9),
            nose_relief: anatomy.nose_relief,
            sockets: [-1.0, 1.0]
                .map(|side| Blob::new([side * anatomy.eye_gap, nose_root], [0.22, 0.13], 0.9)),
            lips: Blob::new(
                [0.0, anatomy.mouth_height],
                [anatomy.mouth_length * 1.2, 0.12],
                0.9,
            ),
        }
    }

    fn height(&self, face: &Points) -> Lane {
        let mut height = [0.0; LANES];
        let mut add = |mask: Option<Lane>, factor: f32| {
            for (height, mask) in height.iter_mut().zip(mask.into_iter().flatten()) {
                *height += mask * factor;
            }
        };
        add(
            (!face.miss(&self.ridge_bounds)).then(|| self.ridge(face)),
            self.nose_relief * 0.10,
        );
        add(self.tip.mask(face), self.nose_relief * 0.11);
        for socket in &self.sockets {
            add(socket.mask(face), -0.05);
        }
        add(self.lips.mask(face), 0.03);
        height
    }

    fn ridge(&self, face: &Points) -> Lane {
        let (tip, root, inverse) = (self.nose_tip, self.nose_root, 1.0 / self.ridge);
        lane(|i| {
            let across = face.x[i] * inverse;
            let along = smooth(tip - 0.06, tip + 0.05, face.y[i])
                * (1.0 - smooth(root - 0.05, root + 0.2, face.y[i]));
            exp(-across * across) * along
        })
    }
}
