//! The anatomy that all images of one invented person share, and random anatomies.
//!
//! Lengths are in halves of the head's height. u runs over the face from ear to ear, v from chin to
//! crown, both roughly from −1 to 1 with 0 in the middle.

use serde::{Deserialize, Serialize};

use super::lane::{Colour, times};
use super::stream::{Purpose, Stream};

/// The anatomy of one invented person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anatomy {
    /// Chooses between two sets of hair styles, lips, jaws and beards.
    pub feminine: bool,
    /// 0 lightest to 1 darkest.
    pub skin: f32,
    /// Red, green, blue, 0 to 1.
    pub hair_colour: [f32; 3],
    /// Red, green, blue, 0 to 1.
    pub eye_colour: [f32; 3],
    /// Width of the head, as a factor on the usual width.
    pub width: f32,
    /// Width of the jaw, as a share of the head's width.
    pub jaw: f32,
    /// Stretch of v: how far the features reach towards chin and crown.
    pub chin: f32,
    /// Distance of each eye's centre from the middle.
    pub eye_gap: f32,
    /// Height of the eyes' centres.
    pub eye_height: f32,
    /// Half the length of an eye's opening.
    pub eye_length: f32,
    /// Half the height of an eye's opening.
    pub eye_opening: f32,
    /// Slant in radians, mirrored for the other eye.
    pub eye_slant: f32,
    /// Half the thickness of a brow.
    pub brow_thickness: f32,
    /// Height of the brows above the eyes' centres.
    pub brow_height: f32,
    /// Slant in radians, mirrored for the other brow.
    pub brow_slant: f32,
    /// Half the length of a brow.
    pub brow_length: f32,
    /// Half the width of the nose's tip.
    pub nose_width: f32,
    /// From the eyes' height down to the tip.
    pub nose_length: f32,
    /// Strength of the nose's relief.
    pub nose_relief: f32,
    /// Half the length of the mouth.
    pub mouth_length: f32,
    /// Half the height of both lips.
    pub lips: f32,
    /// Height of the mouth.
    pub mouth_height: f32,
    /// Colour of the lips: 0 like the skin, 1 red.
    pub lip_red: f32,
    /// Height of the hair's edge over the forehead.
    pub hairline: f32,
    /// Course of the hair's edge, and whether hair falls behind the head.
    pub hair_style: HairStyle,
    /// Thickness of the hair over the skull.
    pub hair_volume: f32,
    /// Where a beard grows.
    #[serde(default, skip_serializing_if = "Beard::is_none")]
    pub beard: Beard,
    /// Colour of the glasses' frames, if the person wears glasses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glasses: Option<[f32; 3]>,
    /// Freckles over nose and cheeks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freckled: bool,
    /// Hair on the sides only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bald: bool,
}

/// Course of the hair's edge over the forehead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HairStyle {
    /// Level.
    Level,
    /// Higher on one side.
    Slanted,
    /// Lower in the middle; long hair, if feminine.
    Peaked,
    /// Higher in the middle; hair to the shoulders.
    Arched,
    /// Far into the forehead.
    Fringe,
    /// In waves.
    Wavy,
}

/// Where a beard grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beard {
    /// Nowhere.
    #[default]
    None,
    /// On the upper lip.
    Moustache,
    /// On upper lip and chin.
    Chin,
    /// On upper lip, chin and cheeks.
    Full,
}

impl Beard {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

const HAIR: [Colour; 7] = [
    [0.08, 0.07, 0.07],
    [0.24, 0.15, 0.09],
    [0.45, 0.28, 0.14],
    [0.72, 0.55, 0.28],
    [0.62, 0.25, 0.10],
    [0.62, 0.62, 0.62],
    [0.88, 0.86, 0.82],
];
const EYES: [Colour; 4] = [
    [0.25, 0.15, 0.08],
    [0.35, 0.45, 0.25],
    [0.25, 0.42, 0.62],
    [0.45, 0.45, 0.45],
];

impl Anatomy {
    /// A random anatomy, from the distribution that all people here come from.
    pub fn stranger(seed: u64) -> Self {
        use HairStyle::{Arched, Fringe, Level, Peaked, Slanted, Wavy};
        let stream = &mut Stream::new(seed, Purpose::Stranger);
        let feminine = stream.chance(0.5);
        let only_feminine = |amount: f32| if feminine { amount } else { 0.0 };
        Self {
            feminine,
            skin: stream.unit(),
            hair_colour: times(stream.choose(HAIR), stream.between(0.80, 0.4)),
            eye_colour: stream.choose(EYES),
            width: stream.between(0.74, 0.34),
            jaw: stream.between(0.58, 0.47) - only_feminine(0.05),
            chin: stream.between(0.86, 0.34),
            eye_gap: stream.between(0.31, 0.24),
            eye_height: stream.between(-0.02, 0.20),
            eye_length: stream.between(0.12, 0.11),
            eye_opening: stream.between(0.048, 0.068),
            eye_slant: stream.between(-0.4, 0.8),
            brow_thickness: stream.between(0.016, 0.062) - only_feminine(0.006),
            brow_height: stream.between(0.12, 0.11),
            brow_slant: stream.between(-0.4, 0.8),
            brow_length: stream.between(0.14, 0.14),
            nose_width: stream.between(0.075, 0.16),
            nose_length: stream.between(0.20, 0.24),
            nose_relief: stream.between(0.4, 1.3),
            mouth_length: stream.between(0.18, 0.25),
            lips: stream.between(0.02, 0.065) + only_feminine(0.012),
            mouth_height: stream.between(-0.47, -0.17),
            lip_red: if feminine {
                stream.between(0.25, 0.65)
            } else {
                stream.between(0.0, 0.3)
            },
            hairline: stream.between(0.38, 0.30),
            hair_style: match feminine {
                true => stream.choose([Level, Slanted, Peaked, Arched, Fringe, Wavy]),
                false => stream.choose([Level, Slanted, Peaked, Arched]),
            },
            hair_volume: stream.between(0.04, 0.20),
            beard: match feminine {
                true => Beard::None,
                false => stream.choose([
                    Beard::None,
                    Beard::None,
                    Beard::Moustache,
                    Beard::Chin,
                    Beard::Full,
                ]),
            },
            glasses: stream.chance(0.18).then(|| times(stream.units(), 0.5)),
            freckled: stream.chance(0.15),
            bald: !feminine && stream.chance(0.12),
        }
    }

    /// How far the hair falls behind the head; `None` for short hair.
    pub(super) fn long_hair(&self) -> Option<f32> {
        match (self.hair_style, self.feminine) {
            (HairStyle::Peaked, true) => Some(1.25),
            (HairStyle::Arched, _) => Some(0.8),
            _ => None,
        }
    }
}
