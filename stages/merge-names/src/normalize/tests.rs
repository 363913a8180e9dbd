//! Properties of normalization; what it makes of labelled mentions is in `tests/it/labels.rs`.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn normalize_is_idempotent_on_any_text(text in ".{0,60}") {
        if let Ok(spelling) = normalize(&text) {
            prop_assert_eq!(normalize(&spelling.name).map(|s| s.name), Ok(spelling.name));
        }
    }

    #[test]
    fn normalize_is_idempotent_on_names_with_titles_and_signs(text in "((MR|dr\\.|Sir|actor|van|de|O'|Mc|Jr\\.|[A-Z]\\.|[A-Z][a-z]{1,8}|[a-z]{1,8}|[A-Z]{2,8}|[,/&()'\"-]|'s|2019|IV) ?){1,8}") {
        if let Ok(spelling) = normalize(&text) {
            prop_assert_eq!(normalize(&spelling.name).map(|s| s.name), Ok(spelling.name.clone()));
            prop_assert_eq!(spelling.name.split_whitespace().collect::<Vec<_>>().join(" "), spelling.name);
        }
    }
}

/// Words in name case from all lists, among them such as rules are about.
fn word() -> impl Strategy<Value = String> {
    let words: Vec<String> = [
        include_str!("../../data/given-names.txt"),
        include_str!("../../data/surnames.txt"),
        include_str!("../../data/things.txt"),
        include_str!("../../data/common-words.txt"),
        include_str!("../../data/leading.txt"),
        include_str!("../../data/particles.txt"),
        include_str!("../../data/endings.txt"),
        "new york santa hello kitty born aka and jr ii xiv photoshoot streets kitchens",
    ]
    .iter()
    .flat_map(|list| list.lines().filter(|l| !l.starts_with('#')))
    .flat_map(str::split_whitespace)
    .map(|word| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_uppercase().to_string());
        first.unwrap_or_default() + chars.as_str()
    })
    .collect();
    prop_oneof![
        8 => proptest::sample::select(words),
        1 => "[A-Z][a-z]{1,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What takes the short way comes out as by the long way.
    #[test]
    fn the_short_way_answers_as_the_long_way(
        words in proptest::collection::vec(word(), 2..5),
        case in 0..4,
        tail in prop_oneof![4 => Just(""), 1 => Just("'s"), 1 => Just("'S"), 1 => Just("’s"), 1 => Just(" 2019"), 1 => Just(" 21")],
    ) {
        let text = words.join(" ");
        let text = match case {
            0 => text.to_uppercase(),
            1 => text.to_lowercase(),
            _ => text,
        };
        let (mention, knowledge) = (text + tail, Knowledge::default());
        if let Some(found) = plain::read(&mention, &knowledge) {
            prop_assert_eq!(found, read_until_stable(&mention, &knowledge), "{}", mention);
        }
    }
}

#[test]
fn the_short_way_is_taken_by_plain_names() {
    for mention in [
        "Emma Watson",
        "Sarah Jessica Parker",
        "Kendrick Lamar",
        "EMMA WATSON",
        "emma watson",
        "Emma Watson's",
        "Emma Watson’s",
        "Emma Watson 2019",
        "Actor Robert Redford",
    ] {
        assert!(
            plain::read(mention, &Knowledge::default()).is_some(),
            "{mention}"
        );
    }
}

#[test]
fn normalize_rejects_overlong_and_empty_mentions() {
    assert_eq!(
        normalize(&"Emma Watson ".repeat(100_000)),
        Err(Rejection::NotAName)
    );
    assert_eq!(normalize(""), Err(Rejection::NotAName));
    assert_eq!(
        normalize("\u{0}\u{7f}\u{feff}\u{202e}"),
        Err(Rejection::NotAName)
    );
}

#[test]
fn what_stands_around_a_name_in_other_languages_and_in_files_goes() {
    for (mention, wanted) in [
        ("Regisseur Peter Brown", Ok("Peter Brown")),
        ("Kanzleramtsminister Peter Brown", Ok("Peter Brown")),
        ("la actriz Maria Lopez", Ok("Maria Lopez")),
        ("Msgr. Peter Brown", Ok("Peter Brown")),
        ("Auch Peter Brown", Ok("Peter Brown")),
        ("Salman khan", Ok("Salman Khan")),
        ("Koffer packen", Err(Rejection::NotAName)),
        ("Fotos de Maria Lopez", Ok("Maria Lopez")),
        ("country singer Emma Brown", Ok("Emma Brown")),
        ("Norway's Daniel Brown", Ok("Daniel Brown")),
        ("Emma Watson's Kids", Ok("Emma Watson")),
        ("emma-watson-premiere-2015", Ok("Emma Watson")),
        ("emma watson premiere 2015", Ok("Emma Watson")),
        ("Jean-Claude Brown", Ok("Jean-Claude Brown")),
        ("Emma Watson @emwatson", Ok("Emma Watson")),
        ("@emwatson", Err(Rejection::NotAName)),
        ("Anna Brown/Rex Features/Shutterstock", Ok("Anna Brown")),
        ("Emma Watson - Sunsets & Sunrises", Ok("Emma Watson")),
        (
            "Emma Watson, Brad Pitt and Tom Hanks",
            Err(Rejection::SeveralPeople),
        ),
        (
            "Roger Brown def. Peter Smith",
            Err(Rejection::SeveralPeople),
        ),
        ("Liam Brown Peter Smith", Err(Rejection::SeveralPeople)),
        ("park shin hye", Ok("Park Shin Hye")),
        ("Kim Min-hee", Ok("Kim Min-hee")),
        ("moon sun sun", Err(Rejection::NotAName)),
        ("Königin Silvia", Ok("Königin Silvia")),
        ("Kreuz Castle", Err(Rejection::NotAName)),
        ("Charlotte Church", Ok("Charlotte Church")),
        ("Handtasche Leder", Err(Rejection::NotAName)),
    ] {
        let found = normalize(mention).map(|s| s.name);
        assert_eq!(found, wanted.map(str::to_owned), "{mention}");
    }
}
