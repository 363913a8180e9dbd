//! Draws one picture: background, body, hair behind the head, ears, face and hair, tile by tile.

use image::RgbImage;

use super::anatomy::Anatomy;
use super::face::{self, Layer};
use super::hair;
use super::head::{Ellipsoid, Hits, Pose, face_points, hair_axes, head_axes};
use super::lane::{COLUMNS, Colour, Colours, LANES, Lane, ROWS, blend, lane, smooth, times};
use super::relief::{Relief, Slopes};
use super::scene::Scene;
use super::shape::{Blob, Points};
use super::stream::{Purpose, Stream};
use super::{SAMPLES, SIDE};

const SKIN: [Colour; 6] = [
    [0.96, 0.82, 0.72],
    [0.90, 0.72, 0.58],
    [0.78, 0.58, 0.44],
    [0.60, 0.42, 0.30],
    [0.42, 0.28, 0.20],
    [0.30, 0.20, 0.15],
];

/// Tiles beside each other.
pub(super) const TILES_ACROSS: usize = SAMPLES / COLUMNS;
/// Tiles above each other; each is one row of pixels.
pub(super) const TILES_DOWN: usize = SAMPLES / ROWS;
/// Pixels of a tile.
const TILE_PIXELS: usize = COLUMNS / 2;

/// The person in the scene, with everything prepared that does not change from tile to tile.
pub(super) struct Painter<'a> {
    pub(super) anatomy: &'a Anatomy,
    pub(super) scene: &'a Scene,
    pub(super) pose: Pose,
    skin: Colour,
    cheeks: [Blob; 2],
    features: Vec<Layer>,
    glasses: Vec<Layer>,
    body: Body,
    light: Light,
}

/// What lies behind the head. Each: shape, and how opaque it is.
struct Body {
    shoulders: Blob,
    neck: Blob,
    long_hair: Option<Blob>,
    ears: [(Blob, f32); 2],
}

/// Directions of length 1, in the camera's coordinates.
struct Light {
    source: [f32; 3],
    /// Between the light and the camera.
    half_way: [f32; 3],
}

/// Draws the person. The seed decides the noise only.
pub(super) fn draw(anatomy: &Anatomy, scene: &Scene, seed: u64) -> RgbImage {
    let painter = Painter::new(anatomy, scene);
    let relief = Relief::new(&painter);
    let mut film = Film::new(scene, seed);
    for down in 0..TILES_DOWN {
        for across in 0..TILES_ACROSS {
            film.expose(across, &painter.tile(&relief, across, down));
        }
        film.develop_row(down);
    }
    film.picture
}

impl<'a> Painter<'a> {
    fn new(anatomy: &'a Anatomy, scene: &'a Scene) -> Self {
        let pose = Pose::new(scene);
        let skin = skin_colour(anatomy.skin);
        Self {
            skin,
            cheeks: [-0.5, 0.5].map(|u| Blob::new([u, -0.25], [0.25, 0.2], 0.9)),
            features: face::features(anatomy, scene, skin),
            glasses: face::glasses(anatomy),
            body: Body::new(anatomy, scene, &pose),
            light: Light::new(scene.light),
            anatomy,
            scene,
            pose,
        }
    }

    /// The plane through the head's centre, in halves of the head's height, at a tile's samples.
    pub(super) fn plane(&self, across: usize, down: usize) -> Points {
        let (sine, cosine) = self.scene.roll.sin_cos();
        let [dx, dy] = self.scene.shift;
        let inverse = 1.0 / self.scene.scale;
        let [x, y] = frame(across, down);
        Points::new(
            lane(|i| (cosine * (x[i] - dx) + sine * (y[i] - dy)) * inverse),
            lane(|i| (cosine * (y[i] - dy) - sine * (x[i] - dx)) * inverse),
        )
    }

    fn tile(&self, relief: &Relief, across: usize, down: usize) -> Colours {
        let plane = self.plane(across, down);
        let mut samples = self.background(across, down);
        self.paint_body(&plane, &mut samples);
        if let Some(tile) = relief.tile(across, down) {
            let parting = hair::parting(self.anatomy, &tile.face);
            let cover = self.head_cover(&plane, &tile.head);
            if cover.iter().any(|&cover| cover > 0.0) {
                let slopes = relief.slopes(across, down);
                let face = self.face(&tile.head, &tile.face, &slopes, &parting);
                lay_over(&mut samples, &cover, &face);
            }
            if !self.anatomy.bald {
                self.paint_hair(&plane, &parting, &mut samples);
            }
        }
        samples
    }

    fn background(&self, across: usize, down: usize) -> Colours {
        let (sine, cosine) = self.scene.background_turn.sin_cos();
        let [x, y] = frame(across, down);
        let shade = lane(|i| 0.95 + 0.15 * (cosine * x[i] + sine * y[i]));
        self.scene
            .background
            .map(|channel| shade.map(|shade| shade * channel))
    }

    fn paint_body(&self, plane: &Points, samples: &mut Colours) {
        let body = &self.body;
        if let Some(cover) = body.shoulders.mask(plane) {
            let lit = lane(|i| {
                0.65 + 0.35
                    * (1.0 - (plane.x[i] - self.light.source[0]).abs() * 0.5).clamp(0.0, 1.0)
            });
            lay_over(
                samples,
                &cover,
                &self.scene.cloth.map(|channel| lit.map(|lit| lit * channel)),
            );
        }
        if let Some(cover) = body.neck.mask(plane) {
            blend(samples, &cover, times(self.skin, 0.72));
        }
        if let Some(cover) = body.long_hair.as_ref().and_then(|hair| hair.mask(plane)) {
            blend(samples, &cover, times(self.anatomy.hair_colour, 0.75));
        }
        for (ear, opacity) in &body.ears {
            if let Some(cover) = ear.mask(plane) {
                blend(
                    samples,
                    &cover.map(|cover| cover * opacity),
                    times(self.skin, 0.78),
                );
            }
        }
    }

    /// How much of each sample the head covers: the ellipsoid, narrowed towards the jaw.
    fn head_cover(&self, plane: &Points, head: &Hits) -> Lane {
        let half_width = head_axes(self.anatomy)[0];
        let ellipsoid = head.cover();
        lane(|i| {
            let low = (-head.y[i]).clamp(0.0, 1.0);
            let narrowing = (1.0 - self.anatomy.jaw) * smooth(0.1, 1.0, low);
            let height = plane.y[i].clamp(-1.0, 1.0);
            let width = half_width * (1.0 - narrowing) * (1.0 - height * height).max(0.0).sqrt();
            let from_middle = (plane.x[i] + self.pose.side * 0.10 * low).abs();
            ellipsoid[i]
                * (1.0 - smooth(0.985, 1.03, from_middle / (width + 0.02 + narrowing * 0.02)))
        })
    }

    /// The head's colours under the scene's light.
    fn face(&self, head: &Hits, face: &Points, slopes: &Slopes, parting: &Lane) -> Colours {
        let mut skin = self.skin.map(|channel| [channel; LANES]);
        self.redden_cheeks(face, &mut skin);
        for layer in &self.features {
            layer.paint(face, &mut skin);
        }
        let scalp = hair::scalp(self.anatomy, face, parting);
        if scalp.iter().any(|&scalp| scalp > 0.0) {
            let strands = hair::strands(face, 0.15);
            blend(&mut skin, &scalp, self.anatomy.hair_colour);
            for channel in &mut skin {
                for i in 0..LANES {
                    channel[i] *= 1.0 - scalp[i] * (1.0 - strands[i]);
                }
            }
        }
        for layer in &self.glasses {
            layer.paint(face, &mut skin);
        }
        let normals =
            slopes.bend(Ellipsoid::new(&self.pose, head_axes(self.anatomy)).normals(head));
        let diffuse = facing(&normals, self.light.source);
        let shine = facing(&normals, self.light.half_way);
        let ambient = self.scene.ambient;
        let lit = diffuse.map(|diffuse| ambient + (1.0 - ambient) * 1.15 * diffuse);
        let gloss = lane(|i| 0.10 * shine[i].powi(24) * (1.0 - scalp[i]));
        skin.map(|channel| lane(|i| channel[i] * lit[i] + gloss[i]))
    }

    fn redden_cheeks(&self, face: &Points, skin: &mut Colours) {
        for cheek in &self.cheeks {
            if let Some(cover) = cheek.mask(face) {
                for (k, factor) in [0.10, -0.06, -0.06].into_iter().enumerate() {
                    for i in 0..LANES {
                        skin[k][i] += self.skin[k] * factor * cover[i];
                    }
                }
            }
        }
    }

    /// The hair's outer surface, a larger head around the head.
    fn paint_hair(&self, plane: &Points, parting: &Lane, samples: &mut Colours) {
        let ellipsoid = Ellipsoid::new(&self.pose, hair_axes(self.anatomy));
        let hits = ellipsoid.hits(plane);
        let surface = face_points(self.anatomy, &hits);
        let (inside, hair) = (hits.cover(), hair::outer(self.anatomy, &surface, parting));
        let cover = lane(|i| inside[i] * hair[i]);
        if cover.iter().all(|&cover| cover <= 0.0) {
            return;
        }
        let diffuse = facing(&ellipsoid.normals(&hits), self.light.source);
        let strands = hair::strands(&surface, 0.18);
        let ambient = self.scene.ambient;
        let lit = lane(|i| (ambient + 0.75 * diffuse[i] * (1.0 - ambient)) * strands[i]);
        lay_over(
            samples,
            &cover,
            &self
                .anatomy
                .hair_colour
                .map(|channel| lit.map(|lit| lit * channel)),
        );
    }
}

impl Body {
    fn new(anatomy: &Anatomy, scene: &Scene, pose: &Pose) -> Self {
        let half_width = head_axes(anatomy)[0];
        let long_hair = anatomy.long_hair().map(|fall| {
            let centre = [-pose.side * 0.12, 0.15 - fall * 0.35];
            Blob::new(
                centre,
                [half_width + 0.16 + anatomy.hair_volume, 0.95 + fall * 0.35],
                0.05,
            )
            .squared(2.8)
        });
        let ears = [-1.0, 1.0].map(|side| {
            let ear = Blob::new(
                [
                    side * half_width * 0.99 * pose.front - pose.side * 0.1,
                    0.02,
                ],
                [0.10, 0.19],
                0.12,
            );
            (ear, if side * scene.yaw < 0.35 { 1.0 } else { 0.3 })
        });
        Self {
            shoulders: Blob::new([0.0, -1.95], [1.55, 0.85], 0.04).squared(2.6),
            neck: Blob::new([0.0, -1.05], [0.42 * anatomy.width, 0.55], 0.06).squared(4.0),
            long_hair,
            ears,
        }
    }
}

impl Light {
    fn new(direction: [f32; 3]) -> Self {
        let source = of_length_1(direction);
        Self {
            source,
            half_way: of_length_1([source[0], source[1], source[2] + 1.0]),
        }
    }
}

fn of_length_1(vector: [f32; 3]) -> [f32; 3] {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.map(|x| x / length)
}

/// Cosine between each normal and a direction, 0 for those that face away.
fn facing(normals: &[Lane; 3], direction: [f32; 3]) -> Lane {
    let [x, y, z] = normals;
    lane(|i| (x[i] * direction[0] + y[i] * direction[1] + z[i] * direction[2]).clamp(0.0, 1.0))
}

fn lay_over(samples: &mut Colours, cover: &Lane, over: &Colours) {
    for (channel, over) in samples.iter_mut().zip(over) {
        for i in 0..LANES {
            channel[i] += (over[i] - channel[i]) * cover[i];
        }
    }
}

/// A tile's samples in the picture: x to the right and y up, both −1 to 1.
fn frame(across: usize, down: usize) -> [Lane; 2] {
    let step = 2.0 / SAMPLES as f32;
    let (left, top) = ((across * COLUMNS) as f32 + 0.5, (down * ROWS) as f32 + 0.5);
    [
        lane(|i| (left + (i % COLUMNS) as f32) * step - 1.0),
        lane(|i| 1.0 - (top + (i / COLUMNS) as f32) * step),
    ]
}

fn skin_colour(darkness: f32) -> Colour {
    let place = darkness.clamp(0.0, 1.0) * (SKIN.len() - 1) as f32;
    let index = (place as usize).min(SKIN.len() - 2);
    let share = place - index as f32;
    [0, 1, 2].map(|k| SKIN[index][k] * (1.0 - share) + SKIN[index + 1][k] * share)
}

/// Turns samples into pixels: the mean of each square of four, brightness, warmth, noise.
struct Film {
    picture: RgbImage,
    row: [f32; SIDE * 3],
    gain: Colour,
    noise: f32,
    stream: Stream,
}

impl Film {
    fn new(scene: &Scene, seed: u64) -> Self {
        Self {
            picture: RgbImage::new(SIDE as u32, SIDE as u32),
            row: [0.0; SIDE * 3],
            gain: [1.0 + scene.warmth, 1.0, 1.0 - scene.warmth].map(|factor| factor * scene.gain),
            noise: scene.noise,
            stream: Stream::new(seed, Purpose::Noise),
        }
    }

    fn expose(&mut self, across: usize, samples: &Colours) {
        let pixels = &mut self.row[across * TILE_PIXELS * 3..][..TILE_PIXELS * 3];
        for (k, channel) in samples.iter().enumerate() {
            for (p, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                let (upper, lower) = (2 * p, COLUMNS + 2 * p);
                let sum = channel[upper] + channel[upper + 1] + channel[lower] + channel[lower + 1];
                pixel[k] = sum * 0.25 * self.gain[k];
            }
        }
    }

    fn develop_row(&mut self, down: usize) {
        if self.noise != 0.0 {
            for values in self.row.chunks_mut(LANES) {
                for (value, noise) in values.iter_mut().zip(self.stream.normals()) {
                    *value += noise * self.noise;
                }
            }
        }
        let bytes = &mut self.picture.as_flat_samples_mut().samples[down * SIDE * 3..][..SIDE * 3];
        for (byte, value) in bytes.iter_mut().zip(&self.row) {
            *byte = (value.clamp(0.0, 1.0) * 255.0) as u8;
        }
    }
}
