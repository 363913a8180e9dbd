//! `samples/references.csv`: what each person is called in prompts, and how that came about. Beside the photos a list of this
//! form overrules the guesses; and whoever draws the people with another program finds their words here. Written when the
//! step publishes, with the sheet; deleted by nobody; after a crash the next run writes it again.

use std::collections::BTreeMap;

use laioncele_core::table::Sample;

/// The words by person.
#[derive(Default)]
pub(crate) struct WordsList(BTreeMap<String, String>);

impl WordsList {
    /// Adds the person of a sample, if it shows somebody.
    pub(crate) fn add(&mut self, sample: &Sample) {
        if sample.person.is_empty() || self.0.contains_key(&sample.person) {
            return;
        }
        let probability = sample.gender_probability;
        let line = format!(
            "\"{}\",{},{},{},{}\n",
            sample.person.replace('"', "\"\""),
            sample.word,
            sample.word_given,
            sample.gender_guess.as_deref().unwrap_or_default(),
            probability.map_or(String::new(), |p| format!("{p:.4}")),
        );
        self.0.insert(sample.person.clone(), line);
    }

    /// The list as CSV.
    pub(crate) fn text(&self) -> String {
        let lines: String = self.0.values().map(String::as_str).collect();
        format!("person,word,given,guess,probability\n{lines}")
    }
}

#[cfg(test)]
mod tests {
    use laioncele_core::table::Image;
    use laioncele_inference::lists::named_fields;

    use super::*;

    fn sample(person: &str, guess: Option<(&str, f32)>) -> Sample {
        let image = Image {
            bytes: Vec::new(),
            path: String::new(),
        };
        Sample {
            method: "laioncele".to_owned(),
            person: person.to_owned(),
            group: "mood".to_owned(),
            prompt: "a woman is sad".to_owned(),
            word: guess.map_or("person", |(word, _)| word).to_owned(),
            word_given: false,
            gender_guess: guess.map(|(word, _)| word.to_owned()),
            gender_probability: guess.map(|(_, probability)| probability),
            index: 0,
            seed: 1,
            image,
        }
    }

    #[test]
    fn each_person_has_one_line_that_can_be_read_again() {
        let mut list = WordsList::default();
        list.add(&sample("", None));
        for _ in 0..2 {
            list.add(&sample("a \"b\", c", Some(("woman", 0.625))));
            list.add(&sample("nobody_seen", None));
        }
        let text = list.text();
        let rows = named_fields(&text, &["person", "word"]).expect("a list");
        let row = |k: usize, name: &str| rows[k].fields[name].as_str();
        assert_eq!(rows.len(), 2);
        assert_eq!((row(0, "person"), row(0, "word")), ("a \"b\", c", "woman"));
        assert_eq!(
            (row(0, "given"), row(0, "probability")),
            ("false", "0.6250")
        );
        assert_eq!((row(1, "word"), row(1, "guess")), ("person", ""));
    }
}
