//! Paints one image: background, body, hair behind the head, ears, face and hair, tile by tile.

use image::RgbImage;

use super::anatomy::Anatomy;
use super::face::{self, Layer};
use super::grid::{TILES_ACROSS, TILES_DOWN, sample_points};
use super::hair;
use super::head::{Ellipsoid, Hits, Pose, face_points, hair_axes, head_axes};
use super::lane::{Colour, Colours, LANES, Lane, blend, lane, smooth, times};
use super::pixels::PixelBuffer;
use super::relief::{Relief, Slopes};
use super::scene::Scene;
use super::shape::{Blob, Points};
use super::view::View;

const SKIN: [Colour; 6] = [
    [0.96, 0.82, 0.72],
    [0.90, 0.72, 0.58],
    [0.78, 0.58, 0.44],
    [0.60, 0.42, 0.30],
    [0.42, 0.28, 0.20],
    [0.30, 0.20, 0.15],
];

/// A person in a scene, with everything that is the same for all tiles.
struct Painter<'a> {
    view: View<'a>,
    skin: Colour,
    cheeks: [Blob; 2],
    features: Vec<Layer>,
    glasses: Vec<Layer>,
    body: Body,
    light: Light,
}

/// What is behind the head. The ears come with their opacity.
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

/// The image of a person in a scene. The seed decides only the noise.
pub(super) fn paint(anatomy: &Anatomy, scene: &Scene, seed: u64) -> RgbImage {
    let painter = Painter::new(anatomy, scene);
    let relief = Relief::new(&painter.view);
    let mut pixels = PixelBuffer::new(scene, seed);
    for down in 0..TILES_DOWN {
        for across in 0..TILES_ACROSS {
            pixels.set_tile(across, &painter.tile(&relief, across, down));
        }
        pixels.finish_row(down);
    }
    pixels.into_image()
}

impl<'a> Painter<'a> {
    fn new(anatomy: &'a Anatomy, scene: &'a Scene) -> Self {
        let view = View::new(anatomy, scene);
        let skin = skin_colour(anatomy.skin);
        Self {
            skin,
            cheeks: [-0.5, 0.5].map(|u| Blob::new([u, -0.25], [0.25, 0.2], 0.9)),
            features: face::features(anatomy, scene, skin),
            glasses: face::glasses(anatomy),
            body: Body::new(anatomy, scene, &view.pose),
            light: Light::new(scene.light),
            view,
        }
    }

    fn tile(&self, relief: &Relief, across: usize, down: usize) -> Colours {
        let plane = self.view.plane(across, down);
        let mut samples = self.background(across, down);
        self.paint_body(&plane, &mut samples);
        if let Some(tile) = relief.tile(across, down) {
            let parting = hair::parting(self.view.anatomy, &tile.face);
            let cover = self.head_cover(&plane, &tile.head);
            if cover.iter().any(|&cover| cover > 0.0) {
                let slopes = relief.slopes(across, down);
                let face = self.face(&tile.head, &tile.face, &slopes, &parting);
                lay_over(&mut samples, &cover, &face);
            }
            if !self.view.anatomy.bald {
                self.paint_hair(&plane, &parting, &mut samples);
            }
        }
        samples
    }

    fn background(&self, across: usize, down: usize) -> Colours {
        let (sine, cosine) = self.view.scene.background_turn.sin_cos();
        let [x, y] = sample_points(across, down);
        let shade = lane(|i| 0.95 + 0.15 * (cosine * x[i] + sine * y[i]));
        self.view
            .scene
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
                &self
                    .view
                    .scene
                    .cloth
                    .map(|channel| lit.map(|lit| lit * channel)),
            );
        }
        if let Some(cover) = body.neck.mask(plane) {
            blend(samples, &cover, times(self.skin, 0.72));
        }
        if let Some(cover) = body.long_hair.as_ref().and_then(|hair| hair.mask(plane)) {
            blend(samples, &cover, times(self.view.anatomy.hair_colour, 0.75));
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
        let half_width = head_axes(self.view.anatomy)[0];
        let ellipsoid = head.cover();
        lane(|i| {
            let low = (-head.y[i]).clamp(0.0, 1.0);
            let narrowing = (1.0 - self.view.anatomy.jaw) * smooth(0.1, 1.0, low);
            let height = plane.y[i].clamp(-1.0, 1.0);
            let width = half_width * (1.0 - narrowing) * (1.0 - height * height).max(0.0).sqrt();
            let from_middle = (plane.x[i] + self.view.pose.side * 0.10 * low).abs();
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
        let scalp = hair::scalp(self.view.anatomy, face, parting);
        if scalp.iter().any(|&scalp| scalp > 0.0) {
            let strands = hair::strands(face, 0.15);
            blend(&mut skin, &scalp, self.view.anatomy.hair_colour);
            for channel in &mut skin {
                for i in 0..LANES {
                    channel[i] *= 1.0 - scalp[i] * (1.0 - strands[i]);
                }
            }
        }
        for layer in &self.glasses {
            layer.paint(face, &mut skin);
        }
        let normals = slopes
            .bend(Ellipsoid::new(&self.view.pose, head_axes(self.view.anatomy)).normals(head));
        let diffuse = facing(&normals, self.light.source);
        let shine = facing(&normals, self.light.half_way);
        let ambient = self.view.scene.ambient;
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
        let ellipsoid = Ellipsoid::new(&self.view.pose, hair_axes(self.view.anatomy));
        let hits = ellipsoid.hits(plane);
        let surface = face_points(self.view.anatomy, &hits);
        let (inside, hair) = (
            hits.cover(),
            hair::outer(self.view.anatomy, &surface, parting),
        );
        let cover = lane(|i| inside[i] * hair[i]);
        if cover.iter().all(|&cover| cover <= 0.0) {
            return;
        }
        let diffuse = facing(&ellipsoid.normals(&hits), self.light.source);
        let strands = hair::strands(&surface, 0.18);
        let ambient = self.view.scene.ambient;
        let lit = lane(|i| (ambient + 0.75 * diffuse[i] * (1.0 - ambient)) * strands[i]);
        lay_over(
            samples,
            &cover,
            &self
                .view
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

fn skin_colour(darkness: f32) -> Colour {
    let place = darkness.clamp(0.0, 1.0) * (SKIN.len() - 1) as f32;
    let index = (place as usize).min(SKIN.len() - 2);
    let share = place - index as f32;
    [0, 1, 2].map(|k| SKIN[index][k] * (1.0 - share) + SKIN[index + 1][k] * share)
}
