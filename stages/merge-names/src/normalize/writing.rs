//! The words of a name as it is written: their case, order, initials and suffix.

use super::bare::small;
use super::case::{is_mixed, is_numeral, name_case};
use super::spelling::{Rejection, Spelling};
use super::word::{Word, is_suffix};

/// Writes the words as a name: case, initials, suffix.
pub(super) fn write_name(words: Vec<Word>, count: usize) -> Result<Spelling, Rejection> {
    let words = if count == 1 {
        without_lone_initials(words)
    } else {
        words
    };
    let mixed_text = words
        .iter()
        .any(|w| is_mixed(&w.written) && w.bare.chars().count() > 1);
    let (mut name, mut recased) = (String::new(), false);
    let total = words.len();
    for (i, word) in words.iter().enumerate() {
        let text = write_word(word, i, total, mixed_text);
        recased |= text != word.written && small(&text) == small(&word.written);
        let clings =
            i > 0 && word.is_initial() && words[i - 1].are_initials() && name.ends_with('.');
        if i > 0 && !clings {
            name.push(' ');
        }
        name.push_str(&text);
    }
    if name.is_empty() {
        Err(Rejection::NotAName)
    } else {
        Ok(Spelling {
            name,
            mononym: count == 1,
            recased,
        })
    }
}

/// A mononym's initial says nothing (`Maria S.`).
fn without_lone_initials(words: Vec<Word>) -> Vec<Word> {
    let (kept, initials): (Vec<_>, Vec<_>) = words.into_iter().partition(|w| !w.are_initials());
    if kept.is_empty() { initials } else { kept }
}

/// `MIYAZAKI Hayao` → `Hayao Miyazaki`: the capitals mark the surname.
pub(super) fn surname_first(mut words: Vec<Word>) -> Vec<Word> {
    let capitals = |w: &Word| {
        w.bare.chars().count() > 2
            && !w.written.chars().any(char::is_lowercase)
            && w.written.chars().any(char::is_uppercase)
    };
    if words.len() == 2
        && capitals(&words[0])
        && !words[0].are_initials()
        && is_mixed(&words[1].written)
        && !words[1].is_initial()
        && !is_suffix(&words[1].bare)
    {
        words.swap(0, 1);
    }
    words
}

fn write_word(word: &Word, i: usize, total: usize, mixed_text: bool) -> String {
    let written = word.written.trim_end_matches('\'');
    match word.bare.as_str() {
        "jr" | "jnr" | "junior" if i > 1 => return "Jr.".to_owned(),
        "sr" | "snr" if i > 1 => return "Sr.".to_owned(),
        _ => {}
    }
    // `Ngũgĩ wa Thiong'o`: a short word that is no name keeps its small letters between others.
    let is_small_particle = word.is_particle()
        || (mixed_text && i + 1 < total && written.chars().count() <= 3 && !word.is_name_word());
    if i > 0 && word.is_small() && is_small_particle {
        return written.to_owned();
    }
    if word.is_initial() {
        let letter = word.bare.to_uppercase();
        return if i + 1 == total && i > 0 {
            letter.into_string()
        } else {
            format!("{letter}.")
        };
    }
    if word.are_initials() {
        return written.to_uppercase();
    }
    let plain = if i > 0 || word.bare != "st" {
        written.trim_end_matches('.')
    } else {
        written
    };
    let short_capitals = plain.chars().count() == 2
        && i == 0
        && mixed_text
        && !plain.chars().any(char::is_lowercase);
    if is_mixed(plain)
        || short_capitals
        || (i > 0 && is_numeral(plain) && plain.chars().all(char::is_uppercase))
    {
        return if is_shouted(plain) {
            name_case(plain, i == 0)
        } else {
            plain.to_owned()
        };
    }
    name_case(plain, i == 0)
}

/// `HEnry`, `WATSOn`: more capitals than a name can have.
fn is_shouted(word: &str) -> bool {
    let mut chars = word.chars();
    matches!((chars.next(), chars.next()), (Some(a), Some(b)) if a.is_uppercase() && b.is_uppercase())
        && word.chars().any(char::is_lowercase)
        && !word.contains(['\'', '-', '.'])
}
