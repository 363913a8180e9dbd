//! The valid word nearest to an unknown one, for errors.

/// The word of `valid` that differs least from `unknown`, where that is near: by insertions, deletions, exchanges and swaps of neighbours,
/// whatever the case, at most half of the letters. Of equally near ones the first by letters. `_`, `-` and blanks are one letter.
pub fn nearest<'a>(unknown: &str, valid: &'a [String]) -> Option<&'a str> {
    let wanted = plain(unknown);
    let near = valid.iter().map(|word| {
        let distance = strsim::damerau_levenshtein(&wanted, &plain(word));
        (distance, word)
    });
    let (distance, word) = near.min()?;
    let letters = wanted.chars().count();
    (distance <= letters.max(3) / 2).then_some(word.as_str())
}

/// ``: did you mean `x`?`` where a valid word is near, else all valid words.
pub fn suggestion(unknown: &str, valid: &[String]) -> String {
    match nearest(unknown, valid) {
        Some(word) => format!(": did you mean `{word}`?"),
        None => format!(": valid are {}", valid.join(", ")),
    }
}

fn plain(word: &str) -> String {
    let letter = |c: char| match c {
        '_' | ' ' => '-',
        other => other,
    };
    word.trim().to_lowercase().chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_and_nothing_that_is_far() {
        let valid = ["same_person", "same_person_photo", "min_images"].map(str::to_owned);
        for (unknown, found) in [
            ("same_persn", Some("same_person")),
            ("Same-Person", Some("same_person")),
            ("smae_person_photo", Some("same_person_photo")),
            ("min images", Some("min_images")),
            ("guidance", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &valid), found, "{unknown}");
        }
        assert_eq!(nearest("x", &[]), None);
        assert!(suggestion("guidance", &valid).contains("valid are same_person, "));
    }
}
