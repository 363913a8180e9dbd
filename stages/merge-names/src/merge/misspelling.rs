//! What it costs to take one word for a misspelling of another: a weighted edit distance.
//!
//! A letter that is doubled or no longer doubled, two letters in the wrong order, a vowel for
//! another vowel, and groups of letters that sound alike (`ph` and `f`, `ck` and `k`) are what people
//! mix up; a consonant for another one far from it on the keyboard, or another first letter, mostly
//! makes another name. Costs are in hundredths: 100 is about one vowel for another.

use std::sync::LazyLock;

/// Letters from which on a word is no name's.
pub(super) const LONGEST_WORD: usize = 32;

/// No step costs less.
pub(super) const CHEAPEST: i32 = 50;
const DOUBLED: i32 = 80;
const SILENT: i32 = 100;
const SWAPPED: i32 = 120;
const SWAPPED_FIRST: i32 = 200;

/// Single letters that sound alike.
const ALIKE: [(char, char, i32); 25] = [
    ('c', 'k', 100),
    ('s', 'z', 120),
    ('c', 's', 150),
    ('v', 'w', 150),
    ('f', 'v', 200),
    ('d', 't', 200),
    ('b', 'p', 250),
    ('g', 'k', 250),
    ('m', 'n', 220),
    ('g', 'j', 150),
    ('j', 'y', 180),
    ('i', 'y', 80),
    ('k', 'q', 120),
    ('c', 'q', 150),
    ('s', 'x', 200),
    ('x', 'z', 200),
    ('l', 'r', 300),
    ('u', 'w', 150),
    ('k', 'x', 220),
    ('c', 'g', 250),
    ('b', 'v', 250),
    ('h', 'j', 250),
    ('h', 'g', 250),
    ('f', 'h', 350),
    ('k', 'h', 250),
];

/// Groups of letters that sound alike, or that other alphabets' letters are written with.
const GROUPS: [(&str, &str, i32); 72] = [
    ("ph", "f", 80),
    ("ck", "k", 80),
    ("ck", "c", 80),
    ("x", "ks", 100),
    ("x", "cks", 120),
    ("sch", "sh", 80),
    ("sch", "s", 140),
    ("tz", "z", 100),
    ("tz", "s", 150),
    ("ts", "z", 120),
    ("ch", "k", 120),
    ("ch", "h", 160),
    ("ch", "c", 120),
    ("ch", "sh", 120),
    ("tch", "ch", 80),
    ("tsch", "tch", 70),
    ("tsch", "ch", 100),
    ("dt", "t", 100),
    ("dg", "g", 120),
    ("ie", "y", 80),
    ("ie", "ey", 80),
    ("ie", "i", 80),
    ("ey", "y", 70),
    ("ee", "i", 90),
    ("ee", "ea", 90),
    ("ea", "e", 90),
    ("ei", "ie", 70),
    ("ei", "i", 90),
    ("ai", "ei", 90),
    ("ay", "ai", 80),
    ("ey", "i", 90),
    ("ay", "ey", 90),
    ("ou", "u", 90),
    ("oo", "u", 90),
    ("ew", "u", 120),
    ("ew", "ue", 120),
    ("ew", "eu", 100),
    ("ue", "u", 60),
    ("oe", "o", 60),
    ("ae", "a", 60),
    ("ae", "e", 60),
    ("au", "o", 120),
    ("aw", "au", 100),
    ("ow", "ou", 100),
    ("ow", "au", 100),
    ("ff", "v", 120),
    ("kh", "k", 80),
    ("gh", "g", 80),
    ("dh", "d", 80),
    ("bh", "b", 80),
    ("th", "t", 90),
    ("rh", "r", 60),
    ("wh", "w", 70),
    ("qu", "k", 120),
    ("qu", "kw", 100),
    ("kn", "n", 100),
    ("mb", "m", 120),
    ("mc", "mac", 60),
    ("st", "saint", 100),
    ("sky", "ski", 50),
    ("off", "ov", 70),
    ("ia", "ea", 100),
    ("ia", "a", 120),
    ("cz", "ch", 100),
    ("cz", "z", 120),
    ("sz", "s", 100),
    ("zh", "j", 100),
    ("zh", "z", 100),
    ("dj", "j", 80),
    ("hs", "x", 120),
    ("gn", "ni", 120),
    ("eau", "o", 100),
];

/// The letters beside each other on a keyboard, row by row, each row half a key to the right.
const KEYS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

struct Group {
    from: Vec<char>,
    to: Vec<char>,
    cost: i32,
}

struct Tables {
    /// By both letters, `a` is 0: the cost of writing one for the other.
    substitutions: Vec<i32>,
    /// By the first letters of both sides.
    groups: Vec<Vec<Group>>,
}

const LETTERS: usize = 26;

fn letter(c: char) -> Option<usize> {
    c.is_ascii_lowercase().then(|| c as usize - 'a' as usize)
}

fn pair(one: char, other: char) -> Option<usize> {
    Some(letter(one)? * LETTERS + letter(other)?)
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let letters = || (0..LETTERS).map(|i| char::from(b'a' + i as u8));
    let both = |a, b| if is_vowel(a) && is_vowel(b) { 110 } else { 400 };
    let mut substitutions: Vec<i32> = letters()
        .flat_map(|a| letters().map(move |b| (a, b)))
        .map(|(a, b)| {
            if is_beside(a, b) {
                both(a, b).min(320)
            } else {
                both(a, b)
            }
        })
        .collect();
    let mut groups: Vec<Vec<Group>> = (0..LETTERS * LETTERS).map(|_| Vec::new()).collect();
    for (a, b, cost) in ALIKE {
        for at in [pair(a, b), pair(b, a)].into_iter().flatten() {
            substitutions[at] = cost;
        }
    }
    for (one, other, cost) in GROUPS {
        for (from, to) in [(one, other), (other, one)] {
            let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
            if let Some(at) = pair(from[0], to[0]) {
                groups[at].push(Group { from, to, cost });
            }
        }
    }
    Tables {
        substitutions,
        groups,
    }
});

pub(super) fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

fn is_beside(one: char, other: char) -> bool {
    let place = |c| {
        let mut rows = KEYS.iter().enumerate();
        rows.find_map(|(row, keys)| Some((row, keys.find(c)?)))
    };
    let (Some((row, at)), Some((other_row, other_at))) = (place(one), place(other)) else {
        return false;
    };
    match other_row.cmp(&row) {
        std::cmp::Ordering::Equal => at.abs_diff(other_at) == 1,
        std::cmp::Ordering::Greater => {
            row + 1 == other_row && (other_at == at || other_at + 1 == at)
        }
        std::cmp::Ordering::Less => other_row + 1 == row && (other_at == at || other_at == at + 1),
    }
}

/// The cost of the letter at `i` of `word` that the other word lacks.
fn extra(word: &[char], i: usize) -> i32 {
    let c = word[i];
    let (first, last) = (i == 0, i + 1 == word.len());
    if (!first && word[i - 1] == c) || (!last && word[i + 1] == c) {
        return DOUBLED;
    }
    match c {
        'h' if !first => SILENT,
        'e' if last && !first => SILENT,
        'h' => 200,
        _ if first => 300,
        _ if last => 220,
        _ if is_vowel(c) => 160,
        _ => 200,
    }
}

/// The cost of writing one letter for another, at the first place or later.
fn instead(one: char, other: char, first: bool) -> i32 {
    let at = pair(one, other);
    let cost = at.map_or(400, |at| TABLES.substitutions[at]);
    let alike = cost <= 300 && !(is_vowel(one) && is_vowel(other) && cost == 110);
    match (first, alike) {
        (false, _) => cost,
        (true, true) => cost + 30,
        (true, false) => cost + 100,
    }
}

/// Letter by letter: groups are too short for a call.
fn begins(word: &[char], group: &[char]) -> bool {
    group.len() <= word.len() && word.iter().zip(group).all(|(a, b)| a == b)
}

/// Reused memory of [`cost`].
#[derive(Default)]
pub(super) struct Scratch(Vec<i32>);

/// What it costs to take `one` for a misspelling of `other`, or the other way round, if it is at
/// most `most`.
pub(super) fn cost(one: &[char], other: &[char], most: i32, scratch: &mut Scratch) -> Option<i32> {
    let (n, m) = (one.len(), other.len());
    if n > LONGEST_WORD || m > LONGEST_WORD || n.abs_diff(m) > 4 {
        return None;
    }
    let width = m + 1;
    let least = &mut scratch.0;
    least.clear();
    least.resize((n + 1) * width, i32::MAX);
    least[0] = 0;
    // Of each row the columns that something leads to, from the first up to the end: few, where `most` is little.
    let mut reached = [(u8::MAX, 0u8); LONGEST_WORD + 1];
    reached[0] = (0, 1);
    for i in 0..=n {
        let mut next = usize::from(reached[i].0);
        // The row itself leads further to the right.
        while next < usize::from(reached[i].1) {
            let (j, here) = (next, least[i * width + next]);
            next += 1;
            if here > most || (i == n && j == m) {
                continue;
            }
            let mut reach = |down: usize, right: usize, cost: i32| {
                if here + cost <= most {
                    let column = j + right;
                    let to = &mut least[(i + down) * width + column];
                    *to = (*to).min(here + cost);
                    let (first, end) = &mut reached[i + down];
                    (*first, *end) = ((*first).min(column as u8), (*end).max(column as u8 + 1));
                }
            };
            if i < n {
                reach(1, 0, extra(one, i));
            }
            if j < m {
                reach(0, 1, extra(other, j));
            }
            if i == n || j == m {
                continue;
            }
            let (a, b) = (one[i], other[j]);
            if a == b {
                reach(1, 1, 0);
            } else {
                reach(1, 1, instead(a, b, i == 0 || j == 0));
                if i + 1 < n && j + 1 < m && a == other[j + 1] && one[i + 1] == b {
                    reach(
                        2,
                        2,
                        if i == 0 || j == 0 {
                            SWAPPED_FIRST
                        } else {
                            SWAPPED
                        },
                    );
                }
            }
            let Some(at) = pair(a, b).filter(|_| here + CHEAPEST <= most) else {
                continue;
            };
            for group in &TABLES.groups[at] {
                if begins(&one[i..], &group.from) && begins(&other[j..], &group.to) {
                    reach(group.from.len(), group.to.len(), group.cost);
                }
            }
        }
    }
    Some(least[n * width + m]).filter(|&cost| cost <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn between(one: &str, other: &str) -> i32 {
        let letters = |w: &str| w.chars().collect::<Vec<_>>();
        let found = cost(
            &letters(one),
            &letters(other),
            i32::MAX - 1000,
            &mut Scratch::default(),
        );
        found.unwrap_or(i32::MAX)
    }

    #[test]
    fn what_sounds_alike_costs_less_than_another_letter() {
        for (meant, alike, unlike) in [
            ("walker", "wallker", "walter"),
            ("dylan", "dilan", "dolan"),
            ("nick", "nik", "mick"),
            ("philip", "filip", "phelps"),
            ("hendrix", "hendricks", "hendrie"),
            ("markle", "markel", "markley"),
            ("kate", "cate", "nate"),
            ("muller", "mueller", "miller"),
        ] {
            let (near, far) = (between(meant, alike), between(meant, unlike));
            assert!(near < far, "{meant}: {alike} {near}, {unlike} {far}");
        }
    }

    #[test]
    fn rules_name_no_pair_twice() {
        let mut seen = std::collections::HashSet::new();
        for (one, other, _) in GROUPS {
            assert!(
                seen.insert((one.min(other), one.max(other))),
                "{one} {other}"
            );
        }
    }

    proptest! {
        #[test]
        fn cost_is_symmetric_and_zero_for_equal_words_only(one in "[a-z]{1,9}", other in "[a-zäж]{1,9}") {
            prop_assert_eq!(between(&one, &other), between(&other, &one));
            prop_assert_eq!(between(&one, &other) == 0, one == other);
            prop_assert_eq!(between(&one, &one), 0);
        }

        #[test]
        fn a_bound_changes_no_cost_below_it(one in "[a-e]{1,7}", other in "[a-e]{1,7}", most in 0i32..600) {
            let letters = |w: &str| w.chars().collect::<Vec<_>>();
            let whole = between(&one, &other);
            let bounded = cost(&letters(&one), &letters(&other), most, &mut Scratch::default());
            prop_assert_eq!(bounded, (whole <= most).then_some(whole));
        }
    }
}
