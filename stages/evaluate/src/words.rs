//! The words for people in prompts: how many of them are guesses, and those of images from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::Manifest;
use laioncele_core::table::{EvaluationScore, Sample};
use laioncele_face::{FaceError, FaceNets, FaceOptions};
use laioncele_inference::FaceSection;
use laioncele_inference::methods::with_word;
use laioncele_inference::person_word::{ChosenWord, GenderGuess, Gendered, is_unsure};
use laioncele_inference::references::Person;
use serde::{Deserialize, Serialize};

use crate::entries::Entry;
use crate::error::Result;
use crate::people::{People, upright};
use crate::report::fact;

/// The metric that counts people whose word is the network's guess.
pub(crate) const GUESSED: &str = "guessed_words";
/// The metric that counts those of them whose guess is unsure.
pub(crate) const UNSURE: &str = "unsure_words";

/// How people are called, and whether a guess decided it.
#[derive(Default)]
pub(crate) struct WordCounts(BTreeMap<String, (bool, Option<f32>)>);

impl WordCounts {
    /// Adds the person of a sample.
    pub(crate) fn add(&mut self, sample: &Sample) {
        if !sample.person.is_empty() && !self.0.contains_key(&sample.person) {
            let word = (sample.word_given, sample.gender_probability);
            self.0.insert(sample.person.clone(), word);
        }
    }

    /// Those of `words`.
    pub(crate) fn of(words: &[WordOfPerson]) -> Self {
        let count = |word: &WordOfPerson| (word.person.clone(), (word.given, word.probability));
        Self(words.iter().map(count).collect())
    }

    /// The counts that are not zero, each of all people.
    pub(crate) fn rows(&self) -> Vec<EvaluationScore> {
        let count = |is: fn(bool, Option<f32>) -> bool| {
            let people = self.0.values();
            people.filter(|(given, p)| is(*given, *p)).count()
        };
        let guessed = count(|given, probability| !given && probability.is_some());
        let facts = [(GUESSED, guessed), (UNSURE, count(is_unsure))];
        let some = facts.into_iter().filter(|(_, people)| *people > 0);
        some.map(|(metric, people)| fact("", metric, people as f64, self.0.len()))
            .collect()
    }
}

/// What a person is called in prompts, and how that came about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WordOfPerson {
    /// Who.
    pub person: String,
    /// `man`, `woman` or `person`, or as the paper prints them.
    pub word: &'static str,
    /// Whether `references.csv` says so.
    pub given: bool,
    /// The gender network's guess at the first photo; none without a face.
    pub guess: Option<String>,
    /// How probable the network finds it.
    pub probability: Option<f32>,
}

impl WordOfPerson {
    /// Whether people should look at it.
    pub fn is_unsure(&self) -> bool {
        is_unsure(self.given, self.probability)
    }
}

/// The key of `[generate_samples]` that is read here; the stage checks the others.
#[derive(Deserialize)]
struct Keys {
    #[serde(default = "on")]
    gendered: Gendered,
}

fn on() -> Gendered {
    Gendered::Set(true)
}

/// The words of `names`, by the rule of generate-samples: what `references.csv` says, else the guess at the first photo.
/// Capitals are as the manifest has them.
///
/// # Errors
/// No gender network where somebody's word is not given; a network's error.
pub(crate) fn words_of(
    manifest: &Manifest,
    people: &People,
    names: &BTreeSet<&str>,
) -> Result<Vec<WordOfPerson>> {
    let Keys { gendered } = manifest.section("generate_samples")?;
    let gendered = if gendered.is_on() { gendered } else { on() };
    let known = names.iter().filter_map(|name| people.get(*name));
    let known: Vec<&Person> = known.collect();
    let nets = match known.iter().any(|person| person.word.is_none()) {
        true => Some(gender_network(manifest)?),
        false => None,
    };
    let word = |person: &&Person| {
        let first = person.photos.first().and_then(|path| upright(path).ok());
        let guess = match (&nets, first) {
            (Some(nets), Some(photo)) => GenderGuess::of(nets, &photo)?,
            _ => None,
        };
        let chosen = ChosenWord {
            given: person.word,
            guess,
        };
        Ok(WordOfPerson {
            person: person.name.clone(),
            word: gendered.text(chosen.word()),
            given: chosen.given.is_some(),
            guess: guess.map(|guess| guess.word.to_string()),
            probability: guess.map(|guess| guess.probability),
        })
    };
    known.iter().map(word).collect()
}

fn gender_network(manifest: &Manifest) -> Result<FaceNets> {
    let files = FaceSection::from_manifest(manifest)?.files;
    if files.gender.is_none() {
        return Err(FaceError::NoGenderNetwork.into());
    }
    Ok(FaceNets::load(&files, &FaceOptions::default())?)
}

/// `entries` with the people's words in their prompts. Prompts of nobody stay.
pub(crate) fn with_words(entries: &[Entry], words: &[WordOfPerson]) -> Vec<Entry> {
    let words: BTreeMap<&str, &str> = words.iter().map(|w| (w.person.as_str(), w.word)).collect();
    let worded = |entry: &Entry| {
        let mut entry = entry.clone();
        if let (Some(word), Some(prompted)) =
            (words.get(entry.person.as_str()), &mut entry.prompted)
        {
            prompted.prompt = with_word(&prompted.prompt, word);
        }
        entry
    };
    entries.iter().map(worded).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use laioncele_inference::references::WORDS_FILE;

    use super::*;
    use crate::people::people_by_name;
    use crate::tests::{fixture, manifest, with_gender};

    fn word(person: &str, given: bool, probability: Option<f32>) -> WordOfPerson {
        WordOfPerson {
            person: person.to_owned(),
            word: "man",
            given,
            guess: probability.map(|_| "man".to_owned()),
            probability,
        }
    }

    #[test]
    fn guesses_and_unsure_ones_are_counted_by_people() {
        let words = [
            word("a", false, Some(0.69)),
            word("b", false, Some(0.7)),
            word("c", true, Some(0.5)),
            word("d", false, None),
        ];
        let rows = WordCounts::of(&words).rows();
        let found: Vec<_> = (rows.iter())
            .map(|row| (row.metric.as_str(), row.value, row.count))
            .collect();
        assert_eq!(found, [(GUESSED, 2.0, 4), (UNSURE, 1.0, 4)]);
        assert!(WordCounts::of(&words[2..]).rows().is_empty());
    }

    /// A folder with photos of Ada and Bea and one of nobody.
    fn references(root: &Path) -> People {
        for (from, to) in [
            ("first-photo.png", "ada.png"),
            ("second-photo.png", "bea.png"),
            ("nobody.png", "cyd.png"),
        ] {
            std::fs::copy(fixture(from), root.join(to)).expect("copied");
        }
        people_by_name(root).expect("people")
    }

    #[test]
    fn the_first_photo_decides_unless_a_list_says_the_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let people = references(folder.path());
        let names = people.keys().map(String::as_str).collect();
        let without = manifest(folder.path(), "");
        let error = words_of(&without, &people, &names).expect_err("no network");
        assert!(error.to_string().contains("[models.face]"), "{error}");
        let words = words_of(&with_gender(folder.path()), &people, &names).expect("words");
        let ada = &words[0];
        assert_eq!(Some(ada.word), ada.guess.as_deref());
        assert!(ada.probability.is_some_and(|p| (0.5..=1.0).contains(&p)));
        let nobody = &words[2];
        assert_eq!((nobody.word, nobody.probability), ("person", None));
        let other = if ada.word == "man" { "woman" } else { "man" };
        let list = format!("person,word\nada,{other}\nbea,person\ncyd,man\n");
        std::fs::write(folder.path().join(WORDS_FILE), list).expect("written");
        let people = people_by_name(folder.path()).expect("people");
        // Nothing is asked where all words are given: no network is needed.
        let given = words_of(&without, &people, &names).expect("words");
        let given: Vec<_> = given.iter().map(|w| (w.word, w.given)).collect();
        assert_eq!(given, [(other, true), ("person", true), ("man", true)]);
    }
}
