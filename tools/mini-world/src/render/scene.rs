//! What varies between images of one person: pose, light, surroundings, expression.

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};

use super::stream::{Purpose, Stream};

/// Everything in an image that is not the person's anatomy. Angles are in radians, lengths in
/// halves of the image's side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Turn of the head to the side.
    pub yaw: f32,
    /// Nod of the head.
    pub pitch: f32,
    /// Tilt of the whole person in the image's plane.
    pub roll: f32,
    /// Half the head's height.
    pub scale: f32,
    /// Offset of the head's centre from the image's centre, right and up.
    pub shift: [f32; 2],
    /// Direction towards the light: right, up, towards the camera. Any length but 0.
    pub light: [f32; 3],
    /// Share of the light that comes from all directions.
    pub ambient: f32,
    /// Brightness of the whole image.
    pub gain: f32,
    /// Added to red and taken from blue, as a share.
    pub warmth: f32,
    /// Red, green, blue.
    pub background: [f32; 3],
    /// Direction in which the background grows lighter.
    pub background_turn: f32,
    /// Colour of the clothes: red, green, blue.
    pub cloth: [f32; 3],
    /// Corners of the mouth: down below 0, up above 0.
    pub smile: f32,
    /// How far the mouth is open, from 0.
    pub open: f32,
    /// Height of the eyes' opening, as a factor on the anatomy's.
    pub eyelids: f32,
    /// How far the eyes look to the side.
    pub gaze: f32,
    /// Standard deviation of the noise on each channel of each pixel.
    pub noise: f32,
}

impl Scene {
    /// A portrait of a series: little but the background varies. The mini SDXL was trained on such
    /// scenes.
    pub fn studio(seed: u64) -> Self {
        let stream = &mut Stream::new(seed, Purpose::Studio);
        let [red, green, blue] = stream.units();
        let lightness = stream.between(0.0, 0.25);
        Self {
            yaw: stream.normal(0.0, 0.08).clamp(-0.2, 0.2),
            pitch: stream.normal(0.0, 0.04).clamp(-0.1, 0.1),
            roll: stream.normal(0.0, 0.02),
            scale: stream.between(0.72, 0.03),
            shift: [stream.normal(0.0, 0.015), stream.normal(-0.04, 0.015)],
            light: [stream.normal(0.0, 0.25), stream.normal(0.4, 0.1), 1.0],
            ambient: stream.between(0.52, 0.06),
            gain: stream.between(1.0, 0.08),
            warmth: stream.normal(0.0, 0.015),
            background: [red, green, blue].map(|channel| 0.35 + 0.3 * (channel - 0.5) + lightness),
            background_turn: stream.between(0.0, TAU),
            cloth: stream.units().map(|channel| 0.05 + 0.8 * channel),
            smile: stream.normal(0.25, 0.2),
            open: stream.normal(-0.1, 0.25).max(0.0),
            eyelids: stream.normal(1.0, 0.06).clamp(0.8, 1.1),
            gaze: stream.normal(0.0, 0.12),
            noise: 0.003,
        }
    }

    /// A photo as varied as on the web. `close_up` halves the variety of pose and place, as in a
    /// press photo.
    pub fn snapshot(seed: u64, close_up: bool) -> Self {
        let stream = &mut Stream::new(seed, Purpose::Snapshot);
        let variety = if close_up { 0.5 } else { 1.0 };
        let [red, green, blue] = stream.units();
        let lightness = stream.between(0.0, 0.3);
        Self {
            yaw: variety * stream.normal(0.0, 0.22).clamp(-0.5, 0.5),
            pitch: variety * stream.normal(0.0, 0.10).clamp(-0.25, 0.25),
            roll: variety * stream.normal(0.0, 0.06),
            scale: stream.between(0.70, 0.08 * variety),
            shift: [
                variety * stream.normal(0.0, 0.05),
                variety * stream.normal(0.0, 0.04) - 0.04,
            ],
            light: [stream.normal(0.0, 0.45), stream.normal(0.4, 0.25), 1.0],
            ambient: stream.between(0.48, 0.15),
            gain: stream.between(0.95, 0.2),
            warmth: stream.normal(0.0, 0.04),
            background: [red, green, blue].map(|channel| 0.35 + 0.4 * (channel - 0.5) + lightness),
            background_turn: stream.between(0.0, TAU),
            cloth: stream.units().map(|channel| 0.05 + 0.8 * channel),
            smile: stream.normal(0.25, 0.4),
            open: stream.normal(0.0, 0.35).max(0.0),
            eyelids: stream.normal(1.0, 0.15).clamp(0.6, 1.2),
            gaze: stream.normal(0.0, 0.3),
            noise: 0.004,
        }
    }
}
