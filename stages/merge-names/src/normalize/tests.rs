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
