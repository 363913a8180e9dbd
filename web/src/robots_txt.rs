//! `robots.txt` (RFC 9309): which paths of a site we may ask for.

use crate::opt_out::OUR_NAME;
use crate::path_pattern::{Pattern, normalized};

/// Bytes of a file that are read; what is beyond does not count.
pub(crate) const MAX_BYTES: usize = 500 << 10;
/// Rules of a file that are kept.
const MAX_RULES: usize = 10_000;

/// The rules of one file that are meant for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RobotsTxt {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    pattern: Pattern,
}

impl RobotsTxt {
    /// Reads a file: the groups that name us, or else those for all. What is no rule is passed over.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BYTES)]);
        let (mut ours, mut everybodys) = (Vec::new(), Vec::new());
        let mut named = false;
        let mut group = Group::default();
        for line in text.trim_start_matches('\u{feff}').split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if group.has_rules {
                        group = Group::default();
                    }
                    group.ours |= is_us(value);
                    group.everybodys |= value == "*";
                    named |= group.ours;
                }
                "allow" | "disallow" => {
                    group.has_rules = true;
                    if value.is_empty() {
                        continue;
                    }
                    let rule = Rule {
                        allow: key == "allow",
                        pattern: Pattern::new(value),
                    };
                    if group.ours && ours.len() < MAX_RULES {
                        ours.push(rule);
                    } else if group.everybodys && everybodys.len() < MAX_RULES {
                        everybodys.push(rule);
                    }
                }
                _ => {}
            }
        }
        let rules = if named { ours } else { everybodys };
        Self { rules }
    }

    /// The rule that forbids `path` (with its query), as it is written; none where we may ask for it. The longest rule
    /// that matches decides, and of two of one length the one that allows.
    pub(crate) fn forbids(&self, path: &str) -> Option<&str> {
        let path = normalized(path);
        self.rules
            .iter()
            .filter(|rule| rule.pattern.matches(&path))
            .max_by_key(|rule| (rule.pattern.len(), rule.allow))
            .filter(|rule| !rule.allow)
            .map(|rule| rule.pattern.as_str())
    }
}

/// The group that lines belong to.
#[derive(Default)]
struct Group {
    ours: bool,
    everybodys: bool,
    has_rules: bool,
}

/// Whether a group's `User-agent` is ours, with or without a version.
fn is_us(value: &str) -> bool {
    let product = value
        .split(|c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '_'))
        .next()
        .unwrap_or_default();
    product.eq_ignore_ascii_case(OUR_NAME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forbidden(file: &str, path: &str) -> bool {
        RobotsTxt::parse(file.as_bytes()).forbids(path).is_some()
    }

    #[test]
    fn the_group_that_names_us_counts_or_else_everybodys() {
        let file = "User-agent: *\nDisallow: /\n\nUser-agent: otherbot\nUser-agent: LaionCele/1.0\nDisallow: /private # not this\nAllow: /private/public\n";
        assert!(!forbidden(file, "/x.jpg"));
        assert!(forbidden(file, "/private/x.jpg"));
        assert!(!forbidden(file, "/private/public/x.jpg"));
        assert!(forbidden("user-agent:*\r\ndisallow:/a", "/ab"));
        assert!(!forbidden("User-agent: otherbot\nDisallow: /", "/x"));
        assert!(!forbidden("User-agent: *\nDisallow:\n", "/x"));
        assert!(!forbidden("Disallow: /", "/x"));
        assert!(!forbidden(
            "User-agent: *\nDisallow: /\nUser-agent: laioncele\nDisallow:\n",
            "/x"
        ));
        let twice = "User-agent: laioncele\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: laioncele\nDisallow: /c\n";
        assert!(forbidden(twice, "/a") && !forbidden(twice, "/b") && forbidden(twice, "/c"));
        let other_lines_between =
            "User-agent: laioncele\nSitemap: x\nUser-agent: y\nDisallow: /a\n";
        assert!(forbidden(other_lines_between, "/a"));
    }

    #[test]
    fn the_longest_rule_decides_and_allow_wins_a_tie() {
        let file = "User-agent: *\nDisallow: /p\nAllow: /page$\nDisallow: /*.gif$\nAllow: /tie\nDisallow: /tie\n";
        assert!(!forbidden(file, "/page"));
        assert!(forbidden(file, "/page?x"));
        assert!(forbidden(file, "/a/b.gif"));
        assert!(!forbidden(file, "/a/b.gif?x"));
        assert!(!forbidden(file, "/tie/x"));
    }

    #[test]
    fn a_hostile_file_is_cut() {
        let rules: String = (0..30_000)
            .map(|k| format!("Disallow: /*{k}*a*b*c\n"))
            .collect();
        let read = RobotsTxt::parse(format!("User-agent: *\n{rules}").as_bytes());
        assert_eq!(read.rules.len(), MAX_RULES);
        assert_eq!(read.forbids(&"/aaab".repeat(2000)), None);
    }

    proptest! {
        #[test]
        fn parse_accepts_any_bytes(bytes: Vec<u8>, path in "/[ -~]{0,20}") {
            let _ = RobotsTxt::parse(&bytes).forbids(&path);
        }

        #[test]
        fn what_is_forbidden_by_its_own_path_is_forbidden(path in "/[a-zA-Z0-9/._-]{0,20}", after in "[ -~]{0,10}") {
            let file = format!("User-agent: *\nDisallow: {path}\n");
            prop_assert!(forbidden(&file, &path));
            let longer = format!("{path}{after}");
            prop_assert!(forbidden(&file, &longer));
        }
    }
}
