//! Properties of normalization; what it makes of labelled mentions is in `tests/labels.rs`.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read_without_panic_and_a_name_is_its_own_normal_form(text in ".{0,60}") {
        if let Ok(spelling) = normalize(&text) {
            prop_assert_eq!(normalize(&spelling.name).map(|s| s.name), Ok(spelling.name));
        }
    }

    #[test]
    fn names_among_signs_and_titles_are_stable(text in "((MR|dr\\.|Sir|actor|van|de|O'|Mc|Jr\\.|[A-Z]\\.|[A-Z][a-z]{1,8}|[a-z]{1,8}|[A-Z]{2,8}|[,/&()'\"-]|'s|2019|IV) ?){1,8}") {
        if let Ok(spelling) = normalize(&text) {
            prop_assert_eq!(normalize(&spelling.name).map(|s| s.name), Ok(spelling.name.clone()));
            prop_assert_eq!(spelling.name.split_whitespace().collect::<Vec<_>>().join(" "), spelling.name);
        }
    }
}

#[test]
fn a_mention_without_end_is_no_name() {
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
