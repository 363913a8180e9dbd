//! The folded words of a spelling.

use crate::fold::fold_onto;

/// Words that are written in two ways.
const ONE_WAY: [(&str, &str); 4] = [
    ("saint", "st"),
    ("jnr", "jr"),
    ("snr", "sr"),
    ("junior", "jr"),
];

/// The words of `text`, which a space parts: `str::split` searches too thoroughly for texts as short as names.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.bytes().position(|b| b == b' ') else {
            rest = None;
            return Some(text);
        };
        rest = Some(&text[end + 1..]);
        Some(&text[..end])
    })
}

/// Appends the words of `spelling` by which it is compared to `text`, folded, with a space between
/// them. Initials that stand together are one word: `C.S. Lewis`, `C S Lewis` and `CS Lewis` are all
/// `cs lewis`. Words that are written in two ways are written in one, and the Arabic article between
/// two words goes.
pub(super) fn name_words(spelling: &str, text: &mut String) {
    let start = text.len();
    fold_words(spelling, text);
    let written = |w: &str| ONE_WAY.iter().any(|(other, _)| *other == w);
    let article = |w: &str| w == "al" || w == "el";
    if !text[start..].split(' ').any(|w| written(w) || article(w)) {
        return;
    }
    let words = text.split_off(start);
    let count = words.split(' ').count();
    for (i, word) in words.split(' ').enumerate() {
        if article(word) && i > 0 && i + 1 < count {
            continue;
        }
        if text.len() > start {
            text.push(' ');
        }
        let one_way = ONE_WAY.iter().find(|(other, _)| i > 0 && *other == word);
        text.push_str(one_way.map_or(word, |(_, one)| one));
    }
}

/// Appends the folded words of `spelling` to `text`, with a space between them and initials
/// together.
pub(super) fn fold_words(spelling: &str, text: &mut String) {
    let start = text.len();
    let mut initials = false;
    for word in spelling.split([' ', '-', '.']) {
        let before = text.len();
        if before > start {
            text.push(' ');
        }
        let begin = text.len();
        fold_onto(word, text);
        if text.len() == begin {
            text.truncate(before);
            continue;
        }
        let initial = text[begin..].chars().nth(1).is_none();
        if initial && initials {
            text.remove(before);
        }
        initials = initial;
    }
}

/// Words that tell people of one name apart and are never misspelt: initials, and suffixes such as
/// `Jr.`
pub(super) fn is_marker(word: &str) -> bool {
    // No marker is longer; most words are.
    word.len() <= 4 && (matches!(word, "jr" | "sr" | "ii" | "iii" | "iv") || is_initials(word))
}

/// Short words that stand in many surnames.
const PARTICLES: [&str; 14] = [
    "de", "di", "da", "du", "do", "el", "al", "la", "le", "lo", "st", "mc", "af", "av",
];

/// One or two letters that are no particle, or three consonants.
pub(super) fn is_initials(word: &str) -> bool {
    let vowel = |c: char| super::misspelling::is_vowel(c) || !c.is_ascii();
    if word.len() > 3 && word.is_ascii() {
        return false;
    }
    match word.chars().count() {
        1 => true,
        2 => word.is_ascii() && !PARTICLES.contains(&word),
        3 => !word.contains(vowel),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fold_words_joins_initials() {
        let words = |spelling| {
            let mut text = String::from("before");
            fold_words(spelling, &mut text);
            text.split_off("before".len())
        };
        for (spelling, folded) in [
            ("C.S. Lewis", "cs lewis"),
            ("CS Lewis", "cs lewis"),
            ("J. R. R. Tolkien", "jrr tolkien"),
            ("Jean-Claude Van Damme", "jean claude van damme"),
            ("Conan O’Brien", "conan obrien"),
            (" - ", ""),
            ("Malcolm X", "malcolm x"),
            ("X", "x"),
            ("Łukasz  Żal.", "lukasz zal"),
        ] {
            assert_eq!(words(spelling), folded);
        }
    }

    #[test]
    fn parts_are_those_of_split() {
        for text in ["", " ", "a", "ada lovelace", "a  b ", " ли на"] {
            let split: Vec<_> = text.split(' ').collect();
            assert_eq!(parts(text).collect::<Vec<_>>(), split);
        }
    }

    #[test]
    fn name_words_writes_one_way() {
        let words = |spelling| {
            let mut text = String::from("before");
            name_words(spelling, &mut text);
            text.split_off("before".len())
        };
        for (spelling, folded) in [
            ("Yves Saint-Laurent", "yves st laurent"),
            ("Robert Downey Jnr.", "robert downey jr"),
            ("Bashar al-Assad", "bashar assad"),
            ("Al Pacino", "al pacino"),
            ("Weird Al", "weird al"),
            ("Junior Seau", "junior seau"),
        ] {
            assert_eq!(words(spelling), folded);
        }
    }

    #[test]
    fn initials_and_suffixes_are_markers() {
        for marker in ["x", "hw", "jrr", "jr", "iii", "aj"] {
            assert!(is_marker(marker), "{marker}");
        }
        for word in ["de", "bob", "van", "lee", "ли", "宮崎"] {
            assert!(!is_marker(word), "{word}");
        }
    }
}
