//! Forms: the spellings that have one fold key, as arrays over all of them.

use std::cmp::Reverse;
use std::ops::Range;

use rayon::prelude::*;

use super::blocks::hash_bytes;
use super::table::{SpellingTable, fetch};
use super::words::{fold_words, name_words};

/// All forms by rank: the most frequent is 0.
pub(super) struct Forms {
    /// Spellings, form by form, the best of each first.
    members: Vec<u32>,
    /// Of each form its first member, and the end.
    starts: Vec<u32>,
    mentions: Vec<u64>,
    /// The words of each form's best spelling, as [`name_words`] has them.
    text: String,
    ends: Vec<u64>,
}

/// Groups whose texts the processor waits for together.
const TOGETHER: usize = 32;

/// A form before it has its rank.
struct Group {
    mentions: u64,
    key: u64,
    members: Range<u32>,
}

impl Forms {
    /// Groups spellings by fold key. Spellings beyond 2³² − 1 are left out.
    pub(super) fn of(table: &SpellingTable) -> Self {
        let count = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let mut keyed: Vec<(u64, u32)> = (0..count)
            .into_par_iter()
            .map_init(String::new, |text, at| {
                text.clear();
                fold_words(table.spelling(at as usize), text);
                let letters = text.bytes().filter(|b| *b != b' ');
                (hash_bytes(letters), at)
            })
            .collect();
        // The spelling that most people wrote themselves is the best one; then the most frequent,
        // then the first.
        keyed.par_sort_unstable_by(|a, b| {
            let preference = |at: u32| {
                let at = at as usize;
                let counts = (table.written(at), table.mentions(at));
                (Reverse(counts), table.spelling(at))
            };
            a.0.cmp(&b.0)
                .then_with(|| preference(a.1).cmp(&preference(b.1)))
        });
        let mut groups = groups(&keyed, table);
        let members: Vec<u32> = keyed.into_iter().map(|(_, at)| at).collect();
        groups.par_sort_unstable_by(|a, b| {
            let text = |g: &Group| table.spelling(members[g.members.start as usize] as usize);
            (Reverse(a.mentions), a.key)
                .cmp(&(Reverse(b.mentions), b.key))
                .then_with(|| text(a).cmp(text(b)))
        });
        Self::in_order(&groups, &members, table)
    }

    fn in_order(groups: &[Group], members: &[u32], table: &SpellingTable) -> Self {
        let mut forms = Self {
            members: Vec::with_capacity(members.len()),
            starts: Vec::with_capacity(groups.len() + 1),
            mentions: Vec::with_capacity(groups.len()),
            text: String::new(),
            ends: Vec::with_capacity(groups.len()),
        };
        for (at, group) in groups.iter().enumerate() {
            if at % TOGETHER == 0 {
                let ahead = &groups[at..groups.len().min(at + TOGETHER)];
                table.fetch(ahead.iter().map(|g| members[g.members.start as usize]));
            }
            let of_group = &members[group.members.start as usize..group.members.end as usize];
            forms.starts.push(forms.members.len() as u32);
            forms.members.extend_from_slice(of_group);
            forms.mentions.push(group.mentions);
            name_words(table.spelling(of_group[0] as usize), &mut forms.text);
            forms.ends.push(forms.text.len() as u64);
        }
        forms.starts.push(forms.members.len() as u32);
        forms.text.shrink_to_fit();
        forms
    }

    /// The number of forms.
    pub(super) fn len(&self) -> usize {
        self.mentions.len()
    }

    /// Mentions of all spellings of a form.
    pub(super) fn mentions(&self, rank: u32) -> u64 {
        self.mentions[rank as usize]
    }

    /// The spellings of a form, the best one first.
    pub(super) fn members(&self, rank: u32) -> &[u32] {
        let rank = rank as usize;
        &self.members[self.starts[rank] as usize..self.starts[rank + 1] as usize]
    }

    /// The words of a form's best spelling, as [`name_words`] has them.
    #[inline]
    pub(super) fn text(&self, rank: u32) -> &str {
        let rank = rank as usize;
        let start = rank.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[rank] as usize]
    }

    /// Reads a little of the texts of `ranks`, so that the processor waits for all of them together.
    pub(super) fn fetch(&self, ranks: &[u32]) {
        fetch(&self.text, &self.ends, ranks.iter().copied());
    }

    /// How many forms, from the most frequent on, have at least `mentions`.
    pub(super) fn at_least(&self, mentions: f64) -> u32 {
        self.mentions.partition_point(|m| *m as f64 >= mentions) as u32
    }
}

/// The runs of one key. Keys are hashes; where two fold keys share one, `keyed` holds their spellings
/// mixed, and each spelling is a form of its own.
fn groups(keyed: &[(u64, u32)], table: &SpellingTable) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut start = 0;
    for run in keyed.chunk_by(|a, b| a.0 == b.0) {
        let one = run.len() == 1 || is_one_name(run, table);
        for part in run.chunks(if one { run.len() } else { 1 }) {
            let end = start + part.len() as u32;
            groups.push(Group {
                mentions: part
                    .iter()
                    .map(|(_, at)| table.mentions(*at as usize))
                    .sum(),
                key: run[0].0,
                members: start..end,
            });
            start = end;
        }
    }
    groups
}

fn is_one_name(run: &[(u64, u32)], table: &SpellingTable) -> bool {
    let key = |at: u32| crate::fold::fold_key(table.spelling(at as usize));
    let first = key(run[0].1);
    run[1..].iter().all(|(_, at)| key(*at) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_fold_key_are_a_form() {
        let mut table = SpellingTable::default();
        for (spelling, mentions, recased) in [
            ("Mira castellan", 3, 0),
            ("Vera Holt", 4, 0),
            ("Mira Castellan", 9, 9),
            ("MiraCastellán", 2, 0),
        ] {
            table.push(spelling, mentions, recased);
        }
        let forms = Forms::of(&table);
        assert_eq!(forms.len(), 2);
        assert_eq!((forms.members(0), forms.mentions(0)), (&[0, 3, 2][..], 14));
        assert_eq!(
            (forms.text(0), forms.text(1)),
            ("mira castellan", "vera holt")
        );
        assert_eq!(
            (
                forms.at_least(14.0),
                forms.at_least(4.0),
                forms.at_least(15.0)
            ),
            (1, 2, 0)
        );
    }
}
