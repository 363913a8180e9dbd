//! The guess at age and gender.

use image::RgbImage;

use crate::align::SIDE;
use crate::error::FaceError;
use crate::network::Network;
use crate::pixels::Pixels;

/// The gender network's guess at a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenderAge {
    /// How much the face looks male, in [0, 1]; the rest looks female.
    pub male: f32,
    /// The age in years; rough.
    pub age: f32,
}

impl GenderAge {
    /// The share that one side needs for [`GenderAge::word`] to name it.
    pub const SURE: f32 = 0.8;

    /// A guess in a word: `man`, `woman`, or `person` where neither side reaches
    /// [`GenderAge::SURE`].
    ///
    /// ```
    /// use laioncele_face::GenderAge;
    ///
    /// assert_eq!(GenderAge { male: 0.9, age: 30.0 }.word(), "man");
    /// assert_eq!(GenderAge { male: 0.6, age: 30.0 }.word(), "person");
    /// ```
    pub fn word(&self) -> &'static str {
        if self.male >= Self::SURE {
            "man"
        } else if 1.0 - self.male >= Self::SURE {
            "woman"
        } else {
            "person"
        }
    }

    /// Whether the larger side is the male one (from 0.5 on), and its share, in [0.5, 1].
    ///
    /// ```
    /// use laioncele_face::GenderAge;
    ///
    /// assert_eq!(GenderAge { male: 0.25, age: 30.0 }.larger_side(), (false, 0.75));
    /// assert_eq!(GenderAge { male: 0.5, age: 30.0 }.larger_side(), (true, 0.5));
    /// ```
    pub fn larger_side(&self) -> (bool, f32) {
        let is_male = self.male >= 0.5;
        (is_male, if is_male { self.male } else { 1.0 - self.male })
    }
}

/// Age and gender of a crop of [`SIDE`] × [`SIDE`] pixels.
pub(crate) fn guess(network: &Network, crop: &RgbImage) -> Result<GenderAge, FaceError> {
    const KIND: &str =
        "network for age and gender ([1, 3, 112, 112] → [1, 1] years, [1, 2] male and female)";
    let run = |planes: &[f32]| network.run(1, [SIDE as usize; 2], planes);
    let outputs = Pixels::RAW.with_planes(&[crop], run)?;
    let find = |width: usize| {
        outputs
            .iter()
            .find(|o| o.shape == [1, width] && o.values.len() == width)
    };
    let (Some(age), Some(gender)) = (find(1), find(2)) else {
        let shapes: Vec<_> = outputs.iter().map(|o| &o.shape).collect();
        return Err(network.wrong(KIND, format!("its outputs are {shapes:?}")));
    };
    let guess = GenderAge {
        age: age.values[0],
        male: gender.values[0],
    };
    if guess.age.is_finite() && guess.male.is_finite() {
        Ok(guess)
    } else {
        Err(FaceError::NotFinite {
            path: network.path().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_person_where_the_guess_is_unsure() {
        let word = |male| GenderAge { male, age: 30.0 }.word();
        let words = [0.0, 0.19, 0.3, 0.5, 0.79, 0.8, 1.0].map(word);
        let expected = ["woman", "woman", "person", "person", "person", "man", "man"];
        assert_eq!(words, expected);
        assert_eq!(word(f32::NAN), "person");
    }
}
