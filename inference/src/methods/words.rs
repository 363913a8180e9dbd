//! The word for the person in a prompt: which it is, and where a name or a trigger word goes.

use std::ops::Range;

/// The words that stand for a person.
pub const PERSON_WORDS: &str = "person, man, woman";

/// With those that the paper prints.
const WORDS: [&str; 5] = ["person", "man", "woman", "Man", "Woman"];

/// `prompt` with each whole word "person" replaced by `word`.
pub fn with_word(prompt: &str, word: &str) -> String {
    let mut text = String::with_capacity(prompt.len());
    let mut rest = prompt;
    while let Some(at) = rest.find("person") {
        let after = &rest[at + "person".len()..];
        let before = &prompt[..prompt.len() - rest.len() + at];
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let whole = !inside(before.chars().next_back()) && !inside(after.chars().next());
        text.push_str(&rest[..at]);
        text.push_str(if whole { word } else { "person" });
        rest = after;
    }
    text + rest
}

/// `prompt` with `name` for the first "a person", "a man" or "a woman", or for the word where it has no article; `None`
/// without such a word.
pub fn with_name(prompt: &str, name: &str) -> Option<String> {
    let mut place = first_word(prompt)?;
    let before = &prompt[..place.start];
    for article in ["a ", "A "] {
        let start = before.strip_suffix(article);
        if let Some(start) = start.filter(|text| !text.ends_with(char::is_alphanumeric)) {
            place.start = start.len();
        }
    }
    Some(format!(
        "{}{name}{}",
        &prompt[..place.start],
        &prompt[place.end..]
    ))
}

/// `prompt` with ` trigger` behind its first "person", "man" or "woman"; as it is where the trigger word is in it; `None`
/// without any of them.
pub fn with_trigger(prompt: &str, trigger: &str) -> Option<String> {
    if prompt.contains(trigger) {
        return Some(prompt.to_owned());
    }
    let end = first_word(prompt)?.end;
    Some(format!("{} {trigger}{}", &prompt[..end], &prompt[end..]))
}

/// The first whole word that stands for a person.
fn first_word(prompt: &str) -> Option<Range<usize>> {
    let places = WORDS.iter().flat_map(|word| {
        let found = prompt.match_indices(word);
        found.map(|(at, word)| at..at + word.len())
    });
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let whole = |place: &Range<usize>| {
        !inside(prompt[..place.start].chars().next_back())
            && !inside(prompt[place.end..].chars().next())
    };
    places.filter(whole).min_by_key(|place| place.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_the_place_of_article_and_noun() {
        let named = |prompt| with_name(prompt, "Mira Castellan");
        let is = |prompt, expected: &str| assert_eq!(named(prompt).as_deref(), Some(expected));
        is("a person is sad", "Mira Castellan is sad");
        is("A woman on a beach", "Mira Castellan on a beach");
        is(
            "a painting of a man, and a man",
            "a painting of Mira Castellan, and a man",
        );
        is("portrait of person", "portrait of Mira Castellan");
        is(
            "an umbrella and a young woman",
            "an umbrella and a young Mira Castellan",
        );
        is("Ana person", "Ana Mira Castellan");
        assert_eq!(named("a personal manual for women"), None);
    }

    #[test]
    fn only_the_whole_word_is_replaced() {
        assert_eq!(
            with_word("a person, personal; person", "woman"),
            "a woman, personal; woman"
        );
        assert_eq!(with_word("personperson", "man"), "personperson");
        assert_eq!(with_word("", "man"), "");
    }

    #[test]
    fn the_papers_capitals_are_words_too() {
        let named = |prompt| with_name(prompt, "Mira Castellan");
        let is = |prompt, expected: &str| assert_eq!(named(prompt).as_deref(), Some(expected));
        is("a Man is sad", "Mira Castellan is sad");
        is("a painting of a Woman", "a painting of Mira Castellan");
        assert_eq!(
            with_trigger("a Woman is sad", "img").as_deref(),
            Some("a Woman img is sad")
        );
        assert_eq!(named("Manchester"), None);
    }

    #[test]
    fn triggers_stand_behind_the_noun() {
        let is = |prompt, expected: &str| {
            assert_eq!(with_trigger(prompt, "img").as_deref(), Some(expected));
        };
        is("a person is sad", "a person img is sad");
        is(
            "a painting of a man, and a person",
            "a painting of a man img, and a person",
        );
        is("a girl img in the snow", "a girl img in the snow");
        assert_eq!(with_trigger("a cat in the snow", "img"), None);
    }
}
