//! What would have had to be different, for each reason to drop something.

use laioncele_core::numbers::setting_text;

use crate::view::RunView;

/// The value of a setting as the tasks of `step` had it; `?` where none ran.
pub(super) fn setting(view: &RunView, step: &str, name: &str) -> String {
    let mut records = view.records.iter().filter(|r| r.step == step);
    let value = records.find_map(|r| r.key_parts.settings.get(name));
    value.map_or("?".to_owned(), |value| setting_text(value))
}

/// A number rounded down to three decimals: what is kept at the shown number is kept.
fn down(text: &str) -> Option<String> {
    let value: f64 = text.trim().parse().ok()?;
    Some(format!("{}", (value * 1000.0).floor() / 1000.0))
}

/// The first number of a text.
fn number(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
    words.into_iter().find(|word| word.parse::<f64>().is_ok())
}

/// Sentences on what would have kept what `step` dropped for `reason`, whose detail is `detail`: the score, the count, the code.
pub(super) fn of(reason: &str, step: &str, detail: Option<&str>, view: &RunView) -> Vec<String> {
    let now = |name: &str| setting(view, step, name);
    let at_most = |name: &str| {
        let value = detail.and_then(number).and_then(down);
        value.map(|value| format!("kept at {name} ≤ {value} (it is {})", now(name)))
    };
    let at_least = |name: &str| {
        let value = detail.and_then(number);
        value.map(|value| format!("kept at {name} ≥ {value} (it is {})", now(name)))
    };
    let line = match (reason, step) {
        ("different_people", _) => at_most("verify_portraits.same_person"),
        ("other_person", _) => at_most("verify_images.same_person_photo"),
        ("too_few_images", "filter-counts") => at_most("filter_counts.min_images"),
        ("too_few_images", _) => at_most("merge_names.min_images"),
        ("above_cap", _) => Some(format!(
            "kept at a larger filter_counts.max_images (it is {})",
            now("filter_counts.max_images")
        )),
        ("low_similarity", _) => at_most("extract_names.min_similarity"),
        ("unsafe", _) => at_least("extract_names.max_punsafe"),
        ("watermarked", _) => at_least("extract_names.max_pwatermark"),
        ("too_small", "extract-names") => Some(format!(
            "kept at smaller extract_names.min_width and min_height (they are {} and {})",
            now("extract_names.min_width"),
            now("extract_names.min_height")
        )),
        ("face_too_small", _) => at_most("verify_images.min_face"),
        ("mononym", _) => Some(format!(
            "kept with more mentions: merge_names.mononym_min_mentions is {}",
            setting(view, "merge-spellings", "merge_names.mononym_min_mentions")
        )),
        ("excluded", _) => Some("kept if it were not on merge_names.exclude".to_owned()),
        ("duplicate_of", _) => Some(format!(
            "kept if that photo were not there, or at a smaller dedupe_images.max_distance (it is {})",
            now("dedupe_images.max_distance")
        )),
        ("unknown_name", _) => Some("kept if the name had passed verify-portraits".to_owned()),
        ("too_many_tokens", _) => Some("kept with eight tokens or fewer".to_owned()),
        ("opt_out", _) => {
            Some("its site asks not to be used: nothing here changes that".to_owned())
        }
        ("rejected", _) => {
            Some("kept if the review's decision were undone: laioncele review".to_owned())
        }
        ("forgotten", _) => Some("removed for good: laioncele forget".to_owned()),
        ("dns" | "connect" | "timeout" | "http_5xx" | "http_4xx" | "tls" | "bad_response", _) => {
            Some(format!(
                "kept if the server answers now: laioncele retry --class {reason}"
            ))
        }
        _ => None,
    };
    line.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_and_rounded_down() {
        assert_eq!(down("0.58999"), Some("0.589".to_owned()));
        assert_eq!(down("4"), Some("4".to_owned()));
        assert_eq!(down("-0.0001"), Some("-0.001".to_owned()));
        assert_eq!(down("x"), None);
        assert_eq!(number("faces 2: 0.41"), Some("2"));
        assert_eq!(number("none"), None);
    }
}
