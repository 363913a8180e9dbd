//! The word that stands for a person in prompts: people's, where a list gives one, else what the gender network makes of
//! the face in the person's first photo. It is a guess about pictures, not about people.
//!
//! generate-samples draws with these words, evaluate puts them into the prompts of images from elsewhere, and the report
//! lists those that are unsure.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use laioncele_face::{FaceError, FaceNets};
use serde::{Deserialize, Serialize};

/// A guess with a lower probability than this one is unsure: people should look.
pub const UNSURE_BELOW: f32 = 0.7;

/// `gendered` of `[generate_samples]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`true`, `false` or \"Man\" (capitals, as the paper prints them) is expected"
)]
pub enum Gendered {
    /// `true`: "man" and "woman"; `false`: "person" for everybody.
    Set(bool),
    /// "Man" and "Woman".
    AsPrinted(AsPrinted),
}

/// The word `Man`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AsPrinted {
    /// `Man`
    #[serde(rename = "Man")]
    Man,
}

impl Gendered {
    /// Whether a word is chosen for each person.
    pub fn is_on(self) -> bool {
        self != Self::Set(false)
    }

    /// `word` as prompts have it.
    pub fn text(self, word: PersonWord) -> &'static str {
        match (self, word) {
            (Self::Set(false), _) | (_, PersonWord::Person) => "person",
            (Self::Set(true), PersonWord::Man) => "man",
            (Self::Set(true), PersonWord::Woman) => "woman",
            (Self::AsPrinted(_), PersonWord::Man) => "Man",
            (Self::AsPrinted(_), PersonWord::Woman) => "Woman",
        }
    }
}

/// What a person may be called in prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonWord {
    /// `man`
    Man,
    /// `woman`
    Woman,
    /// `person`
    #[default]
    Person,
}

impl fmt::Display for PersonWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Gendered::Set(true).text(*self))
    }
}

impl FromStr for PersonWord {
    type Err = String;

    /// Whatever the capitals: how a word is written is the setting's matter.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_lowercase().as_str() {
            "man" => Ok(Self::Man),
            "woman" => Ok(Self::Woman),
            "person" => Ok(Self::Person),
            _ => Err(format!(
                "the word `{}` is none of man, woman, person",
                text.trim()
            )),
        }
    }
}

/// What the gender network makes of a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenderGuess {
    /// `Man` from 0.5 on, else `Woman`.
    pub word: PersonWord,
    /// How probable the network finds it, in [0.5, 1].
    pub probability: f32,
}

impl GenderGuess {
    /// The guess at a photo's main face; `None` without a face or a gender network.
    ///
    /// # Errors
    /// A network's error.
    pub fn of(nets: &FaceNets, photo: &RgbImage) -> Result<Option<Self>, FaceError> {
        if !nets.guesses_gender() {
            return Ok(None);
        }
        let faces = nets.detect(photo)?;
        let Some(face) = faces.first() else {
            return Ok(None);
        };
        let (is_male, probability) = nets.gender_age(photo, face)?.larger_side();
        let word = match is_male {
            true => PersonWord::Man,
            false => PersonWord::Woman,
        };
        Ok(Some(Self { word, probability }))
    }
}

/// A person's word, and how it came about. Without either it is `person`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChosenWord {
    /// What people say, which counts.
    pub given: Option<PersonWord>,
    /// What the network guesses.
    pub guess: Option<GenderGuess>,
}

impl ChosenWord {
    /// The word.
    pub fn word(&self) -> PersonWord {
        let guessed = self.guess.map(|guess| guess.word);
        self.given.or(guessed).unwrap_or_default()
    }

    /// Whether it is a guess below [`UNSURE_BELOW`] that nobody has looked at.
    pub fn is_unsure(&self) -> bool {
        is_unsure(self.given.is_some(), self.guess.map(|g| g.probability))
    }
}

/// [`ChosenWord::is_unsure`] of what the table of samples says. What is no number is unsure.
pub fn is_unsure(given: bool, probability: Option<f32>) -> bool {
    !given && probability.is_some_and(|p| p < UNSURE_BELOW || p.is_nan())
}

#[cfg(test)]
mod tests {
    use laioncele_face::GenderAge;

    use super::*;

    fn chosen(given: Option<PersonWord>, guess: Option<(PersonWord, f32)>) -> ChosenWord {
        let guess = guess.map(|(word, probability)| GenderGuess { word, probability });
        ChosenWord { given, guess }
    }

    #[test]
    fn people_count_more_than_the_network_and_without_either_it_is_a_person() {
        use PersonWord::{Man, Person, Woman};
        assert_eq!(chosen(None, None).word(), Person);
        assert_eq!(chosen(None, Some((Man, 0.5))).word(), Man);
        assert_eq!(chosen(Some(Woman), Some((Man, 0.99))).word(), Woman);
        assert_eq!(chosen(Some(Person), Some((Man, 0.99))).word(), Person);
        assert_eq!(chosen(Some(Man), None).word(), Man);
    }

    #[test]
    fn a_guess_is_unsure_below_seven_tenths_unless_people_say_the_word() {
        let unsure =
            |given, probability| chosen(given, Some((PersonWord::Man, probability))).is_unsure();
        let all = [0.5, 0.69, 0.7, 1.0].map(|probability| unsure(None, probability));
        assert_eq!(all, [true, true, false, false]);
        assert!(unsure(None, f32::NAN));
        assert!(!unsure(Some(PersonWord::Man), 0.5));
        assert!(!chosen(None, None).is_unsure());
    }

    #[test]
    fn half_is_a_man() {
        let side = |male| GenderAge { male, age: 30.0 }.larger_side();
        assert_eq!(
            [0.0, 0.25, 0.5, 1.0].map(|male| side(male).0),
            [false, false, true, true]
        );
        assert_eq!(side(0.25).1, 0.75);
    }

    #[test]
    fn the_setting_is_true_false_or_the_papers_word() {
        let read = serde_json::from_str::<Gendered>;
        let [on, off, printed] =
            ["true", "false", "\"Man\""].map(|text| read(text).expect("a setting"));
        let words = |setting: Gendered| {
            use PersonWord::{Man, Person, Woman};
            [Man, Woman, Person].map(|word| setting.text(word))
        };
        assert_eq!(words(on), ["man", "woman", "person"]);
        assert_eq!(words(off), ["person"; 3]);
        assert_eq!(words(printed), ["Man", "Woman", "person"]);
        assert_eq!([on, off, printed].map(Gendered::is_on), [true, false, true]);
        // Keys of runs from before the third value stay as they were.
        assert_eq!(serde_json::to_value(on).expect("JSON"), true);
        let wrong = read("\"man\"").expect_err("none of the three").to_string();
        assert!(wrong.contains("\"Man\""), "{wrong}");
    }

    #[test]
    fn words_are_read_whatever_their_capitals() {
        assert_eq!(" Woman ".parse(), Ok(PersonWord::Woman));
        let wrong = "girl".parse::<PersonWord>().expect_err("no such word");
        assert!(
            wrong.contains("`girl`") && wrong.contains("woman"),
            "{wrong}"
        );
    }
}
