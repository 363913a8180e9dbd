//! `X-Robots-Tag`: whether a site asks us not to use an image.

const OPT_OUTS: [&str; 5] = ["noai", "noimageai", "noindex", "noimageindex", "none"];
/// Directives that take a value after a colon, and so look like a robot's name.
const WITH_VALUE: [&str; 4] = [
    "unavailable_after",
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
];
/// The name that a site would address us by.
const OUR_NAME: &str = "laioncele";

/// The first opt-out among the header's values, as written in lower case: `noai`,
/// `laioncele: none`, …
///
/// A value is a list of directives divided by commas. `NAME:` before a directive addresses that
/// robot alone, from there to the end of the value or the next name; without a name a directive
/// addresses all.
pub(crate) fn opt_out<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    values
        .into_iter()
        .find_map(|value| opt_out_of_value(&String::from_utf8_lossy(value).to_lowercase()))
}

fn opt_out_of_value(value: &str) -> Option<String> {
    let mut robot: Option<&str> = None;
    for piece in value.split([',', ';']).map(str::trim) {
        let mut directive = piece;
        if let Some((before, after)) = piece.split_once(':') {
            let before = before.trim();
            if WITH_VALUE.contains(&before) || !is_name(before) {
                continue;
            }
            (robot, directive) = (Some(before), after.trim());
        }
        let for_us = robot.is_none_or(|name| name == "*" || name == OUR_NAME);
        if for_us && OPT_OUTS.contains(&directive) {
            return Some(robot.map_or_else(
                || directive.to_owned(),
                |name| format!("{name}: {directive}"),
            ));
        }
    }
    None
}

/// A robot's name is one word; the middle of a date (`25 jun 2010 15`) is not.
fn is_name(text: &str) -> bool {
    text == "*"
        || (!text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[&str]) -> Option<String> {
        opt_out(values.iter().map(|v| v.as_bytes()))
    }

    #[test]
    fn opt_out_reads_every_form_of_the_header() {
        for values in [
            &["noai"][..],
            &["NoImageAI"],
            &["index, follow, noimageindex"],
            &["all", "none"],
            &["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai"],
            &["max-snippet: 20, noindex"],
            &["googlebot: all, laioncele: noai"],
            &["LaionCele: noindex"],
            &["*: none"],
            &[" noai ,"],
        ] {
            assert!(check(values).is_some(), "{values:?}");
        }
    }

    #[test]
    fn opt_out_ignores_directives_for_others() {
        for values in [
            &["all"][..],
            &["googlebot: noindex"],
            &["otherbot: all, noai"],
            &["noarchive, nosnippet"],
            &["max-image-preview: none"],
            &[],
        ] {
            assert_eq!(check(values), None, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn opt_out_accepts_any_bytes(value: Vec<u8>) {
            let _ = opt_out([value.as_slice()]);
        }

        #[test]
        fn opt_out_is_found_among_other_directives(before in prop::sample::subsequence(vec!["all", "nofollow", "max-snippet: 3", "noarchive"], 0..4), at in 0usize..5) {
            let value = before.iter().copied().chain([OPT_OUTS[at]]).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(check(&[value.as_str()]), Some(OPT_OUTS[at].to_owned()));
        }
    }
}
