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
pub(crate) const OUR_NAME: &str = "laioncele";

/// The first opt-out among the header's values, as written in lower case: `noai`,
/// `laioncele: none`, …
///
/// A value is a list of directives divided by commas (or semicolons, or blanks). `NAME:` before a
/// directive addresses that robot alone, from there to the end of the value or the next name;
/// without a name a directive addresses all.
pub(crate) fn opt_out<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    values
        .into_iter()
        .find_map(|value| opt_out_of_value(&String::from_utf8_lossy(value).to_lowercase()))
}

fn opt_out_of_value(value: &str) -> Option<String> {
    let mut robot: Option<&str> = None;
    for piece in value.split([',', ';']).map(str::trim) {
        let mut directives = piece;
        if let Some((before, after)) = piece.split_once(':') {
            let before = before.trim_matches(BLANKS);
            if WITH_VALUE.contains(&before) {
                continue;
            }
            // `noai:` is an opt-out with a colon too many, not a robot of that name.
            if OPT_OUTS.contains(&before) {
                directives = before;
            } else if is_name(before) {
                (robot, directives) = (Some(before), after);
            } else {
                continue;
            }
        }
        let found = directives
            .split(BLANKS)
            .find(|word| OPT_OUTS.contains(word));
        if let Some(directive) = found.filter(|_| robot.is_none_or(means_us)) {
            return Some(robot.map_or_else(
                || directive.to_owned(),
                |name| format!("{name}: {directive}"),
            ));
        }
    }
    None
}

/// What stands around directives.
const BLANKS: [char; 6] = [' ', '\t', '\r', '\n', '"', '\''];

/// Whether a robot's name, perhaps with a version, is ours or everybody's.
fn means_us(name: &str) -> bool {
    name == "*"
        || name
            .strip_prefix(OUR_NAME)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// A robot's name begins with a letter; the middle of a date (`25 jun 2010 15`) does not.
fn is_name(text: &str) -> bool {
    text == "*"
        || (text.starts_with(|c: char| c.is_alphabetic())
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || " -_./()+".contains(c)))
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
            &["googlebot: noindex", "NOAI"],
            &["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai"],
            &["unavailable_after: 25-Aug-2031 15:00:00 EST, noai"],
            &["max-snippet: 20, noindex"],
            &["max-image-preview:large,max-video-preview:-1,noimageai"],
            &["googlebot: all, laioncele: noai"],
            &["Some Other Bot: all, LaionCele: noai"],
            &["LaionCele: noindex"],
            &["laioncele : noindex"],
            &["laioncele/0.1: none"],
            &["*: none"],
            &[" noai ,"],
            &["noarchive noai"],
            &["noarchive;noai"],
            &["\"noai\""],
            &["noai:"],
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
            &["Some Other Bot: noindex, noai"],
            &["Some Other Bot/2.0 (+x): noai"],
            &["laioncelex: noai"],
            &["noarchive, nosnippet"],
            &["max-image-preview: none"],
            &["googlebot: unavailable_after: 25 Jun 2031 15:00:00 GMT, noindex"],
            &["noaiming, noindexing, nonexistent"],
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
