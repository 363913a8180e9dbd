//! What is painted on a face, in order: layers, each with a mask over (u, v) and a colour.

use super::anatomy::{Anatomy, Beard};
use super::hair::freckles;
use super::lane::{Colour, Colours, Lane, blend, exp, lane, power, smooth, times};
use super::scene::Scene;
use super::shape::{Blob, Bounds, Points};

/// One layer of paint.
pub(super) struct Layer {
    mask: Mask,
    /// The mask's value where it is full.
    strength: f32,
    colour: Colour,
}

enum Mask {
    Shape(Blob),
    /// A shape only where another is.
    Within(Blob, Blob),
    Freckles(Blob),
    /// The shadow in the fold under the nose, around a height.
    Fold(Blob, f32),
    Beard {
        moustache: Blob,
        /// For a bearded chin: the lips, which stay bare.
        lips: Option<Blob>,
        cheeks: bool,
    },
    Mouth(Mouth),
    /// Around each eye at this distance from the middle, and at this height.
    Frames {
        gap: f32,
        height: f32,
        bounds: Bounds,
    },
    Bridge {
        gap: f32,
        height: f32,
        bounds: Bounds,
    },
}

/// A band along the mouth's curve.
struct Mouth {
    half_length: f32,
    height: f32,
    smile: f32,
    thickness: f32,
    /// The edge, in thicknesses.
    edge: [f32; 2],
    bounds: Bounds,
}

/// Left and right.
const SIDES: [f32; 2] = [-1.0, 1.0];

/// Everything under the hair's edge, from the skin outwards.
pub(super) fn features(anatomy: &Anatomy, scene: &Scene, skin: Colour) -> Vec<Layer> {
    let mut layers = Vec::with_capacity(32);
    if anatomy.freckled {
        let cheeks = Blob::new([0.0, -0.15], [0.6, 0.22], 0.5);
        layers.push(Layer::new(
            Mask::Freckles(cheeks),
            0.45,
            by_channel(skin, [0.72, 0.55, 0.45]),
        ));
    }
    nose(&mut layers, anatomy, skin);
    beard(&mut layers, anatomy);
    mouth(&mut layers, anatomy, scene, skin);
    for side in SIDES {
        eye(&mut layers, anatomy, scene, skin, side);
    }
    layers
}

/// What lies over the hair.
pub(super) fn glasses(anatomy: &Anatomy) -> Vec<Layer> {
    let Some(colour) = anatomy.glasses else {
        return Vec::new();
    };
    let (gap, height) = (anatomy.eye_gap, anatomy.eye_height);
    let frames = SIDES.map(|side| Mask::Frames {
        gap: side * gap,
        height: height - 0.02,
        bounds: Bounds::around([side * gap, height - 0.02], [0.27 * 1.16, 0.17 * 1.16]),
    });
    let bridge = Mask::Bridge {
        gap,
        height: height + 0.02,
        bounds: Bounds::around([0.0, height + 0.02], [1.0, 0.03]),
    };
    frames
        .into_iter()
        .chain([bridge])
        .map(|mask| Layer::new(mask, 1.0, colour))
        .collect()
}

fn by_channel(colour: Colour, factors: Colour) -> Colour {
    [0, 1, 2].map(|k| colour[k] * factors[k])
}

fn nose(layers: &mut Vec<Layer>, anatomy: &Anatomy, skin: Colour) {
    let (width, tip) = (anatomy.nose_width, nose_tip(anatomy));
    for side in SIDES {
        let nostril = Blob::new([side * width * 0.55, tip - 0.04], [0.035, 0.022], 0.6);
        layers.push(Layer::new(Mask::Shape(nostril), 0.75, times(skin, 0.35)));
    }
    let under = Blob::new([0.0, tip - 0.07], [width, 0.05], 0.8);
    layers.push(Layer::new(
        Mask::Fold(under, tip - 0.075),
        0.35,
        times(skin, 0.5),
    ));
}

/// Height of the nose's tip on the face.
pub(super) fn nose_tip(anatomy: &Anatomy) -> f32 {
    anatomy.eye_height - anatomy.nose_length
}

fn beard(layers: &mut Vec<Layer>, anatomy: &Anatomy) {
    let (height, length) = (anatomy.mouth_height, anatomy.mouth_length);
    let moustache = Blob::new([0.0, height + 0.12], [length, 0.06], 0.5);
    let lips = Blob::new([0.0, height], [length * 0.8, 0.07], 0.4);
    let (lips, cheeks, strength) = match anatomy.beard {
        Beard::None => return,
        Beard::Moustache => (None, false, 0.85),
        Beard::Chin => (Some(lips), false, 0.9),
        Beard::Full => (Some(lips), true, 0.9),
    };
    layers.push(Layer::new(
        Mask::Beard {
            moustache,
            lips,
            cheeks,
        },
        strength,
        times(anatomy.hair_colour, 0.8),
    ));
}

fn mouth(layers: &mut Vec<Layer>, anatomy: &Anatomy, scene: &Scene, skin: Colour) {
    let red = anatomy.lip_red;
    let bare = by_channel(skin, [0.85, 0.55, 0.52]);
    let lip_colour = [0, 1, 2].map(|k| bare[k] * (1.0 - red) + [0.70, 0.12, 0.16][k] * red);
    let open = 0.05 * scene.open.min(1.2);
    let inside = if open < 0.015 {
        [0.25, 0.08, 0.08]
    } else {
        times([0.90, 0.88, 0.84], 0.95)
    };
    let band = |thickness: f32, edge: [f32; 2]| {
        let half_length = anatomy.mouth_length * (1.0 + 0.15 * scene.smile);
        let reach = 0.10 * scene.smile.abs() + edge[1] * (thickness + 1e-3);
        let bounds = Bounds::around([0.0, anatomy.mouth_height], [half_length.abs(), reach]);
        Mask::Mouth(Mouth {
            half_length,
            height: anatomy.mouth_height,
            smile: scene.smile,
            thickness,
            edge,
            bounds,
        })
    };
    layers.push(Layer::new(
        band(anatomy.lips + open, [0.75, 1.15]),
        0.95,
        lip_colour,
    ));
    layers.push(Layer::new(
        band(0.008 + open * 0.8, [0.6, 1.2]),
        1.0,
        inside,
    ));
}

fn eye(layers: &mut Vec<Layer>, anatomy: &Anatomy, scene: &Scene, skin: Colour, side: f32) {
    let (x, y) = (side * anatomy.eye_gap, anatomy.eye_height);
    let slant = side * anatomy.eye_slant;
    let length = anatomy.eye_length;
    let opening = anatomy.eye_opening * scene.eyelids * (1.0 - 0.15 * scene.smile.max(0.0));
    let looking = x + scene.gaze * 0.03;

    let socket = Blob::new([x, y + 0.02], [length * 1.45, opening * 2.0], 0.9).turned(slant);
    let rim = Blob::new([x, y], [length * 1.10, opening * 1.25], 0.25)
        .turned(slant)
        .squared(1.7);
    let white = || {
        Blob::new([x, y - 0.004], [length, opening], 0.2)
            .turned(slant)
            .squared(1.7)
    };
    let iris = Blob::new([looking, y], [0.075, 0.078], 0.2);
    let pupil = Blob::new([looking, y], [0.036, 0.038], 0.3);
    let glint = Blob::new([looking - 0.025, y + 0.025], [0.016, 0.016], 0.5);
    let brow = Blob::new(
        [x * 1.03, y + anatomy.brow_height],
        [anatomy.brow_length, anatomy.brow_thickness],
        0.5,
    )
    .turned(side * anatomy.brow_slant)
    .squared(2.2);

    layers.extend([
        Layer::new(Mask::Shape(socket), 0.30, times(skin, 0.55)),
        Layer::new(Mask::Shape(rim), 0.9, times(skin, 0.22)),
        Layer::new(Mask::Shape(white()), 1.0, [0.93, 0.92, 0.90]),
        Layer::new(Mask::Within(iris, white()), 1.0, anatomy.eye_colour),
        Layer::new(Mask::Within(pupil, white()), 1.0, [0.02; 3]),
        Layer::new(Mask::Within(glint, white()), 1.0, [1.0; 3]),
        Layer::new(Mask::Shape(brow), 0.9, times(anatomy.hair_colour, 0.7)),
    ]);
}

impl Layer {
    fn new(mask: Mask, strength: f32, colour: Colour) -> Self {
        Self {
            mask,
            strength,
            colour,
        }
    }

    /// Paints the layer over the skin of a tile.
    pub(super) fn paint(&self, face: &Points, skin: &mut Colours) {
        if let Some(mask) = self.mask.over(face) {
            blend(skin, &mask.map(|mask| mask * self.strength), self.colour);
        }
    }
}

impl Mask {
    fn over(&self, face: &Points) -> Option<Lane> {
        match self {
            Self::Shape(blob) => blob.mask(face),
            Self::Within(blob, outer) => {
                let (inner, outer) = (blob.mask(face)?, outer.mask(face)?);
                Some(lane(|i| inner[i] * outer[i]))
            }
            Self::Freckles(blob) => {
                let (place, dots) = (blob.mask(face)?, freckles(face));
                Some(lane(|i| place[i] * dots[i]))
            }
            Self::Fold(blob, height) => {
                let place = blob.mask(face)?;
                let height = *height;
                Some(lane(|i| {
                    place[i] * exp(-((face.y[i] - height) * 40.0).powi(2))
                }))
            }
            Self::Beard {
                moustache,
                lips,
                cheeks,
            } => Some(beard_mask(moustache, lips.as_ref(), *cheeks, face)),
            Self::Mouth(mouth) => mouth.mask(face),
            Self::Frames {
                gap,
                height,
                bounds,
            } => (!face.miss(bounds)).then(|| frames_mask(*gap, *height, face)),
            Self::Bridge {
                gap,
                height,
                bounds,
            } => (!face.miss(bounds)).then(|| bridge_mask(*gap, *height, face)),
        }
    }
}

fn beard_mask(moustache: &Blob, lips: Option<&Blob>, cheeks: bool, face: &Points) -> Lane {
    let (u, v) = (&face.x, &face.y);
    let mut mask = moustache.mask_or_zero(face);
    if let Some(lips) = lips {
        let lips = lips.mask_or_zero(face);
        mask = lane(|i| mask[i].max(smooth(0.0, 0.12, -v[i] - 0.40) * (1.0 - lips[i])));
    }
    if cheeks {
        mask =
            lane(|i| mask[i].max(smooth(0.45, 0.62, u[i].abs()) * smooth(0.0, 0.15, 0.1 - v[i])));
    }
    mask
}

fn frames_mask(gap: f32, height: f32, face: &Points) -> Lane {
    lane(|i| {
        let (x, y) = (
            ((face.x[i] - gap) / 0.27).abs(),
            ((face.y[i] - height) / 0.17).abs(),
        );
        let distance = power(x * x * x + y * y * y, 1.0 / 3.0);
        1.0 - smooth(0.06, 0.16, (distance - 1.0).abs())
    })
}

fn bridge_mask(gap: f32, height: f32, face: &Points) -> Lane {
    lane(|i| {
        let between = if face.x[i].abs() < gap - 0.25 {
            1.0
        } else {
            0.0
        };
        between * (1.0 - smooth(0.012, 0.03, (face.y[i] - height).abs()))
    })
}

impl Mouth {
    fn mask(&self, face: &Points) -> Option<Lane> {
        if face.miss(&self.bounds) {
            return None;
        }
        let [inner, outer] = self.edge;
        Some(lane(|i| {
            let along = face.x[i] / self.half_length;
            let curve = self.height + self.smile * (0.10 * along * along - 0.02);
            let profile = (1.0 - along * along).clamp(0.0, 1.0).sqrt();
            let across = (face.y[i] - curve).abs() / (self.thickness * profile + 1e-3);
            (1.0 - smooth(inner, outer, across)) * (1.0 - smooth(0.85, 1.0, along.abs()))
        }))
    }
}
