//! The tokenizer's prefix, suffix, infix and url rules, written by hand: spaCy's English regular
//! expressions, proven equal on millions of strings. All lengths and positions are bytes.

use crate::chars::{TABLES, Tables};

/// Length of the prefix that is cut off `text`; 0 for none.
pub(crate) fn prefix_len(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    if TABLES.prefix.has(first) {
        // `US$` and the like never start with a character of the class.
        return first.len_utf8();
    }
    match first {
        '+' if !chars.next().is_some_and(|c| c.is_ascii_digit()) => 1,
        '.' => dots(text.chars()),
        'U' if text.starts_with("US$") => 3,
        'C' | 'A' if chars.next() == Some('$') => 2,
        _ => 0,
    }
}

/// Length of the run of dots at the front of `chars` if it is two or more, else 0.
fn dots(chars: impl Iterator<Item = char>) -> usize {
    let run = chars.take_while(|c| *c == '.').count();
    if run >= 2 { run } else { 0 }
}

/// Length of the suffix that is cut off `text`: the longest of all rules; 0 for none.
pub(crate) fn suffix_len(text: &str) -> usize {
    let mut back = text.chars().rev();
    let Some(last) = back.next() else { return 0 };
    let (second, third) = (back.next(), back.next());
    if last == '.' {
        return dot_suffix(text, second, third);
    }
    // The alternatives do not exclude each other: the longest wins, as the leftmost start does in a
    // search.
    let mut longest = if TABLES.suffix.has(last) {
        last.len_utf8()
    } else {
        0
    };
    if last == '…' && second == Some('…') {
        longest = longest.max(6);
    }
    if let ('s' | 'S', Some(mark @ ('\'' | '’'))) = (last, second) {
        longest = longest.max(1 + mark.len_utf8());
    }
    if last == '+' && second.is_some_and(|c| c.is_ascii_digit()) {
        longest = longest.max(1);
    }
    longest.max(unit_suffix(text))
}

fn dot_suffix(text: &str, second: Option<char>, third: Option<char>) -> usize {
    let run = dots(text.chars().rev());
    let upper = |c: Option<char>| c.is_some_and(|c| TABLES.alpha_upper.has(c));
    let degrees = third == Some('°') && second.is_some_and(|c| "FfCcKk".contains(c));
    let single = second.is_some_and(|c| TABLES.before_dot.has(c))
        || (upper(second) && upper(third))
        || degrees;
    if run > 0 { run } else { usize::from(single) }
}

/// A currency sign or unit right after a digit.
fn unit_suffix(text: &str) -> usize {
    let after_digit = |unit: &&String| {
        text.strip_suffix(unit.as_str())
            .is_some_and(|rest| rest.as_bytes().last().is_some_and(u8::is_ascii_digit))
    };
    TABLES
        .after_digit
        .iter()
        .find(after_digit)
        .map_or(0, String::len)
}

/// The infixes of `text`, left to right, non-overlapping, as byte ranges.
pub(crate) fn infixes(text: &str) -> Vec<(usize, usize)> {
    let (mut found, mut at, mut before) = (Vec::new(), 0, None);
    while let Some(c) = text[at..].chars().next() {
        let length = infix_len(&text[at..], c, before, &TABLES);
        let end = at + if length > 0 { length } else { c.len_utf8() };
        if length > 0 {
            found.push((at, end));
        }
        before = text[at..end].chars().next_back();
        at = end;
    }
    found
}

/// Length of the infix at the front of `rest`, which starts with `c` and stands after `before`; 0
/// for none.
fn infix_len(rest: &str, c: char, before: Option<char>, t: &Tables) -> usize {
    let next = || rest[c.len_utf8()..].chars().next();
    let is = |c: Option<char>, test: &dyn Fn(char) -> bool| c.is_some_and(test);
    let digit = |c: char| c.is_ascii_digit();
    if c.is_ascii_alphanumeric() {
        return 0;
    }
    if c == '.' {
        let run = dots(rest.chars());
        let between = is(before, &|p| t.alpha_lower.has(p) || t.quotes.has(p))
            && is(next(), &|x| t.alpha_upper.has(x) || t.quotes.has(x));
        return if run > 0 { run } else { usize::from(between) };
    }
    if c == '…' || t.icon.has(c) {
        return c.len_utf8();
    }
    if "+-*^".contains(c) && is(before, &digit) && is(next(), &|x| digit(x) || x == '-') {
        return 1;
    }
    if c == ',' && is(before, &|p| t.alpha.has(p)) && is(next(), &|x| t.alpha.has(x)) {
        return 1;
    }
    let after_word = is(before, &|p| t.alpha.has(p) || digit(p));
    if after_word {
        let fits = |h: &&String| {
            rest.strip_prefix(h.as_str())
                .and_then(|r| r.chars().next())
                .is_some_and(|x| t.alpha.has(x))
        };
        if let Some(hyphen) = t.hyphens.iter().find(fits) {
            return hyphen.len();
        }
        if ":<>=/".contains(c) && is(next(), &|x| t.alpha.has(x)) {
            return 1;
        }
    }
    0
}

/// Whether `text` is a url by spaCy's rule.
pub(crate) fn is_url(text: &str) -> bool {
    text.contains('.') && host_starts(text).any(|start| is_host_and_rest(&text[start..]))
}

/// Where a host may start: at the front, after a scheme, after any `@` but a leading one.
fn host_starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    let scheme_char = |c: char| TABLES.is_alnum.has(c) || "_+-.".contains(c);
    let scheme = text
        .find("://")
        .filter(|at| text[..*at].chars().count() >= 2 && text[..*at].chars().all(scheme_char));
    let users = text
        .match_indices('@')
        .map(|(at, _)| at + 1)
        .filter(|at| *at > 1);
    std::iter::once(0)
        .chain(scheme.map(|at| at + 3))
        .chain(users)
}

fn is_host_and_rest(text: &str) -> bool {
    // No host has an `@`: to look no farther keeps a text of nothing else linear.
    let end = text.find([':', '/', '?', '#', '@']).unwrap_or(text.len());
    let (host, mut rest) = text.split_at(end);
    if let Some(after) = rest.strip_prefix(':') {
        let port = after
            .find(|c| !TABLES.is_decimal.has(c))
            .unwrap_or(after.len());
        if !(2..=5).contains(&after[..port].chars().count()) {
            return false;
        }
        rest = &after[port..];
    }
    (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        && (is_domain(host) || is_public_ipv4(host))
}

fn is_domain(host: &str) -> bool {
    let Some((labels, top)) = host.rsplit_once('.') else {
        return false;
    };
    let top_fits =
        (2..=63).contains(&top.chars().count()) && top.chars().all(|c| TABLES.alpha_lower.has(c));
    top_fits && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    let count = label.chars().count();
    (1..=64).contains(&count)
        && label
            .chars()
            .enumerate()
            .all(|(i, c)| plain(c) || (i > 0 && i + 1 < count && (c == '_' || c == '-')))
}

/// Four numbers by the rule's pattern, private networks left out. Its `\d` is any Unicode decimal
/// digit, its literal digits are ASCII.
fn is_public_ipv4(host: &str) -> bool {
    let parts: Vec<Vec<char>> = host.split('.').map(|p| p.chars().collect()).collect();
    let [a, b, c, d] = parts.as_slice() else {
        return false;
    };
    let numbers = is_first(a) && is_middle(b) && is_middle(c) && is_last(d);
    let starts = |prefix: &str| host.starts_with(prefix);
    let private_172 = host.strip_prefix("172.").is_some_and(|rest| {
        let second: Vec<char> = rest.split('.').next().unwrap_or_default().chars().collect();
        matches!(second.as_slice(), ['1', '6'..='9'] | ['3', '0' | '1'])
            || matches!(second.as_slice(), ['2', x] if is_decimal(*x))
    });
    numbers
        && !starts("10.")
        && !starts("127.")
        && !starts("169.254.")
        && !starts("192.168.")
        && !private_172
}

fn is_decimal(c: char) -> bool {
    TABLES.is_decimal.has(c)
}

#[allow(clippy::match_same_arms, reason = "a line for each form of number")]
fn is_first(n: &[char]) -> bool {
    match n {
        ['1'..='9'] => true,
        ['1'..='9', x] => is_decimal(*x),
        ['1', x, y] => is_decimal(*x) && is_decimal(*y),
        ['2', '0' | '1', x] => is_decimal(*x),
        ['2', '2', '0'..='3'] => true,
        _ => false,
    }
}

#[allow(clippy::match_same_arms, reason = "a line for each form of number")]
fn is_middle(n: &[char]) -> bool {
    match n {
        [x] => is_decimal(*x),
        [x, y] => is_decimal(*x) && is_decimal(*y),
        ['1', x, y] => is_decimal(*x) && is_decimal(*y),
        ['2', '0'..='4', x] => is_decimal(*x),
        ['2', '5', '0'..='5'] => true,
        _ => false,
    }
}

#[allow(clippy::match_same_arms, reason = "a line for each form of number")]
fn is_last(n: &[char]) -> bool {
    match n {
        ['1'..='9'] => true,
        ['1'..='9', x] => is_decimal(*x),
        ['1', x, y] => is_decimal(*x) && is_decimal(*y),
        ['2', '0'..='4', x] => is_decimal(*x),
        ['2', '5', '0'..='4'] => true,
        _ => false,
    }
}
