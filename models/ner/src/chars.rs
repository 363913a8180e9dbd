//! Character classes: CPython's predicates of Unicode 14 and the classes of spaCy's tokenizer
//! rules.
//!
//! `tables/char_tables.json` is derived from the package's tokenizer file (MIT) and from CPython's
//! Unicode data.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A set of code points: a bitmap of the Basic Multilingual Plane, ranges above.
pub(crate) struct CharSet {
    low: Box<[u64; 1024]>,
    high: Vec<(u32, u32)>,
}

impl CharSet {
    fn of_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut set = Self {
            low: Box::new([0; 1024]),
            high: Vec::new(),
        };
        for (first, last) in ranges {
            for c in first..=last.min(0xffff) {
                set.low[(c >> 6) as usize] |= 1 << (c & 63);
            }
            if last > 0xffff {
                set.high.push((first.max(0x1_0000), last));
            }
        }
        set.high.sort_unstable();
        set
    }

    fn of_text(text: &str) -> Self {
        Self::of_ranges(text.chars().map(|c| (c.into(), c.into())))
    }

    fn with(mut self, other: &Self) -> Self {
        self.low
            .iter_mut()
            .zip(other.low.iter())
            .for_each(|(a, b)| *a |= b);
        self.high.extend(&other.high);
        self.high.sort_unstable();
        self
    }

    #[inline]
    pub(crate) fn has(&self, c: char) -> bool {
        let c = u32::from(c);
        if c <= 0xffff {
            return self.low[(c >> 6) as usize] >> (c & 63) & 1 == 1;
        }
        let after = self.high.partition_point(|(first, _)| *first <= c);
        self.high[..after].iter().rev().any(|(_, last)| c <= *last)
    }
}

/// All classes.
pub(crate) struct Tables {
    pub(crate) alpha: CharSet,
    pub(crate) alpha_lower: CharSet,
    pub(crate) alpha_upper: CharSet,
    pub(crate) icon: CharSet,
    pub(crate) quotes: CharSet,
    pub(crate) prefix: CharSet,
    pub(crate) suffix: CharSet,
    pub(crate) before_dot: CharSet,
    pub(crate) is_space: CharSet,
    pub(crate) is_alpha: CharSet,
    pub(crate) is_upper: CharSet,
    pub(crate) is_digit: CharSet,
    pub(crate) is_decimal: CharSet,
    pub(crate) is_alnum: CharSet,
    /// Letters that CPython's Unicode does not know and so does not lower.
    pub(crate) never_lowered: CharSet,
    /// Currency signs and units that end a number's token, longest first.
    pub(crate) after_digit: Vec<String>,
    /// The rules' hyphens, in their order.
    pub(crate) hyphens: Vec<String>,
}

#[derive(serde::Deserialize)]
struct File {
    tokenizer_classes: HashMap<String, Vec<(u32, u32)>>,
    tokenizer_chars: HashMap<String, String>,
    #[serde(rename = "CURRENCY")]
    currency: Vec<String>,
    #[serde(rename = "UNITS")]
    units: Vec<String>,
    #[serde(rename = "HYPHENS")]
    hyphens: Vec<String>,
    isspace: Vec<(u32, u32)>,
    isalpha: Vec<(u32, u32)>,
    isupper: Vec<(u32, u32)>,
    isdigit: Vec<(u32, u32)>,
    isdecimal: Vec<(u32, u32)>,
    isalnum: Vec<(u32, u32)>,
    lowercase_unassigned_in_this_version: Vec<u32>,
}

/// The tables, built once.
pub(crate) static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("tables/char_tables.json"))
        .expect("a table compiled into the crate, read by every test");
    let class = |name: &str| CharSet::of_ranges(file.tokenizer_classes[name].iter().copied());
    let chars = |name: &str| CharSet::of_text(&file.tokenizer_chars[name]);
    let mut after_digit: Vec<String> = file.currency.iter().chain(&file.units).cloned().collect();
    after_digit.sort_by_key(|u| std::cmp::Reverse(u.chars().count()));
    Tables {
        alpha: class("ALPHA"),
        alpha_lower: class("ALPHA_LOWER"),
        alpha_upper: class("ALPHA_UPPER"),
        quotes: chars("QUOTES"),
        prefix: chars("PREFIX1").with(&class("ICON")),
        suffix: chars("SUFFIX1").with(&class("ICON")),
        icon: class("ICON"),
        before_dot: chars("BEFORE_DOT_EXTRA").with(&class("ALPHA_LOWER")),
        is_space: CharSet::of_ranges(file.isspace),
        is_alpha: CharSet::of_ranges(file.isalpha),
        is_upper: CharSet::of_ranges(file.isupper),
        is_digit: CharSet::of_ranges(file.isdigit),
        is_decimal: CharSet::of_ranges(file.isdecimal),
        is_alnum: CharSet::of_ranges(file.isalnum),
        never_lowered: CharSet::of_ranges(
            file.lowercase_unassigned_in_this_version
                .into_iter()
                .map(|c| (c, c)),
        ),
        after_digit,
        hyphens: file.hyphens,
    }
});
