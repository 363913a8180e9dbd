//! Spellings: the ways in which a caption may write a name.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A way of writing a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// Like the canonical name.
    Plain,
    /// ALL CAPITALS.
    Upper,
    /// no capitals.
    Lower,
    /// Last, First.
    Reversed,
    /// Like the canonical name, followed by 's in the caption.
    Possessive,
    /// One letter wrong, missing or swapped.
    Misspelt,
    /// With a diacritic that the canonical name lacks.
    Accented,
    /// Like the canonical name, in a caption of another language.
    Foreign,
}

impl Spelling {
    /// All spellings, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Plain,
        Self::Upper,
        Self::Lower,
        Self::Reversed,
        Self::Possessive,
        Self::Misspelt,
        Self::Accented,
        Self::Foreign,
    ];

    /// The spelling's word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Upper => "upper",
            Self::Lower => "lower",
            Self::Reversed => "reversed",
            Self::Possessive => "possessive",
            Self::Misspelt => "misspelt",
            Self::Accented => "accented",
            Self::Foreign => "foreign",
        }
    }

    /// Whether the text differs from the canonical name, so that merge-names has to merge it.
    pub const fn is_variant(self) -> bool {
        !matches!(self, Self::Plain | Self::Foreign)
    }

    /// `name` in this spelling. The 's of the possessive belongs to the caption, not to the name.
    pub(crate) fn write(self, name: &str, rng: &mut ChaCha8Rng) -> String {
        match self {
            Self::Plain | Self::Possessive | Self::Foreign => name.to_owned(),
            Self::Upper => name.to_uppercase(),
            Self::Lower => name.to_lowercase(),
            Self::Reversed => match name.rsplit_once(' ') {
                Some((first, last)) => format!("{last}, {first}"),
                None => name.to_owned(),
            },
            Self::Misspelt => misspelt(name, rng),
            Self::Accented => accented(name),
        }
    }
}

/// `name` with one typing error inside its last word: one edit away (Damerau–Levenshtein).
pub(crate) fn misspelt(name: &str, rng: &mut ChaCha8Rng) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let last_word = letters
        .iter()
        .rposition(|c| *c == ' ')
        .map_or(0, |at| at + 1);
    // Neither the capital nor the last letter changes.
    let inside: Vec<usize> = (last_word + 1..letters.len().saturating_sub(1)).collect();
    if inside.is_empty() {
        return name.to_owned();
    }
    let at = inside[rng.random_range(0..inside.len())];
    match rng.random_range(0..4) {
        0 if letters[at] != letters[at + 1] => letters.swap(at, at + 1),
        1 => letters.insert(at, letters[at]),
        2 => {
            letters.remove(at);
        }
        _ => letters[at] = other_letter(letters[at]),
    }
    letters.into_iter().collect()
}

/// A letter that people confuse with `letter`.
fn other_letter(letter: char) -> char {
    const PAIRS: [(char, char); 8] = [
        ('a', 'e'),
        ('i', 'y'),
        ('o', 'u'),
        ('c', 'k'),
        ('s', 'z'),
        ('m', 'n'),
        ('b', 'p'),
        ('d', 't'),
    ];
    let other = |&(a, b): &(char, char)| match letter {
        l if l == a => Some(b),
        l if l == b => Some(a),
        _ => None,
    };
    PAIRS.iter().find_map(other).unwrap_or('e')
}

/// `name` with a diacritic on its first lower-case vowel.
fn accented(name: &str) -> String {
    const MARKS: [(char, char); 5] = [('a', 'á'), ('e', 'é'), ('i', 'í'), ('o', 'ö'), ('u', 'ü')];
    let mark = |c: char| MARKS.iter().find(|(plain, _)| *plain == c).map(|(_, m)| *m);
    let mut done = false;
    let letter = |c: char| match mark(c).filter(|_| !done) {
        Some(marked) => {
            done = true;
            marked
        }
        None => c,
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn write_gives_each_spelling() {
        let mut rng = random::generator(1, "test", 0);
        let mut write = |kind: Spelling| kind.write("Mira Castellan", &mut rng);
        assert_eq!(write(Spelling::Upper), "MIRA CASTELLAN");
        assert_eq!(write(Spelling::Lower), "mira castellan");
        assert_eq!(write(Spelling::Reversed), "Castellan, Mira");
        assert_eq!(write(Spelling::Accented), "Míra Castellan");
        assert_eq!(write(Spelling::Possessive), "Mira Castellan");
    }

    #[test]
    fn misspelt_changes_one_letter_and_no_capital() {
        for index in 0..500 {
            let mut rng = random::generator(1, "slip", index);
            let written = misspelt("Tobin Merriweather", &mut rng);
            assert!(written.starts_with("Tobin M"), "{written}");
            let edits = strsim::osa_distance("Tobin Merriweather", &written);
            assert_eq!(edits, 1, "{written}");
        }
    }
}
