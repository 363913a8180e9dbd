//! Name case: what capitals and small letters a name word gets.

use super::bare::small;
use super::lexicon::LEXICON;
use super::vocabulary::list;

/// Suffixes that keep their capitals.
pub(super) fn is_numeral(word: &str) -> bool {
    word.len() >= 2 && word.len() <= 6 && is_roman(&word.to_uppercase())
}

/// A Roman number up to 39, written in the usual way.
fn is_roman(upper: &str) -> bool {
    let units = upper.trim_start_matches('X');
    upper.len() - units.len() <= 3
        && ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"].contains(&units)
}

/// Whether a word has both kinds of letters, or letters without case.
pub(super) fn is_mixed(word: &str) -> bool {
    let (upper, lower) = (
        word.chars().any(char::is_uppercase),
        word.chars().any(char::is_lowercase),
    );
    upper == lower
}

/// `word` in name case; `first` says that it opens the name, so that a particle is capitalised.
pub(super) fn name_case(word: &str, first: bool) -> String {
    let lower = small(word);
    if !first && LEXICON.is(&lower, list::PARTICLE) {
        return lower.into_string();
    }
    if !first && is_numeral(word) {
        return word.to_uppercase();
    }
    let mut out = String::with_capacity(word.len());
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    if plain && !lower.starts_with("mc") {
        out.push_str(&lower);
        out[..1].make_ascii_uppercase();
        return out;
    }
    for (i, piece) in lower.split_inclusive(['-', '\'', '.']).enumerate() {
        // The s of a possessive, and of O's, stays small.
        out.push_str(&if i > 0 && out.ends_with('\'') && piece.len() == 1 {
            piece.to_owned()
        } else {
            capitalise(piece)
        });
    }
    out
}

/// First letter large; after `Mc` too.
fn capitalise(lower: &str) -> String {
    match lower.strip_prefix("mc") {
        Some(rest) if rest.chars().count() >= 2 => format!("Mc{}", upper_first(rest)),
        _ => upper_first(lower),
    }
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // Title case where a letter has one of its own is never needed in names; ß and ligatures
        // stay as they are.
        Some(c) if c.to_uppercase().count() == 1 => c.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_case_capitalises_as_names_are_written() {
        for (word, first, wanted) in [
            ("MCDONALD", true, "McDonald"),
            ("o'brien", false, "O'Brien"),
            ("D'ANGELO", false, "D'Angelo"),
            ("VAN", false, "van"),
            ("VAN", true, "Van"),
            ("iii", false, "III"),
            ("jean-claude", true, "Jean-Claude"),
            ("SØREN", true, "Søren"),
            ("путин", false, "Путин"),
            ("ßa", true, "ßa"),
        ] {
            assert_eq!(name_case(word, first), wanted);
        }
        assert!(is_numeral("XIV") && is_numeral("ii") && !is_numeral("MIX") && !is_numeral("IIII"));
    }
}
