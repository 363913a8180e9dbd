//! Which form each form is filed under, from the pairs of rare and frequent forms.

use super::forms::Forms;
use super::judge::{DOUBTFUL, MARGIN, THRESHOLD, frequency, least_in_crowd};
use super::pairs::Pair;
use super::shares::of_name;

/// For each form the rank of the one that it is filed under, itself or a more frequent one that is
/// filed under itself. `pairs` are sorted.
///
/// A form that resembles an alias of a name more than the name itself counts with the alias's score,
/// but only where it resembles the name too: so a chain of small steps leads nowhere far.
pub(super) fn file(forms: &Forms, pairs: &[Pair]) -> Vec<u32> {
    let mut filed: Vec<u32> = (0..forms.len() as u32).collect();
    let mut names: Vec<(u32, i32)> = Vec::new();
    for of_rare in pairs.chunk_by(|a, b| a.rare == b.rare) {
        names.clear();
        let is_name = |p: &&Pair| filed[p.frequent as usize] == p.frequent;
        names.extend(
            of_rare
                .iter()
                .filter(is_name)
                .map(|p| (p.frequent, i32::from(p.score))),
        );
        for pair in of_rare {
            let name = filed[pair.frequent as usize];
            if let Some((_, score)) = names.iter_mut().find(|(n, _)| *n == name) {
                *score = (*score).max(i32::from(pair.score));
            }
        }
        let rare = of_rare[0].rare;
        if let Some(name) = choose(&names, forms).filter(|n| n.1 > least(forms, rare, n.0)) {
            filed[rare as usize] = name.0;
        }
    }
    filed
}

/// The forms that stay by themselves though one name is nearly likely enough, or two are: with the likeliest.
pub(super) fn doubtful(forms: &Forms, pairs: &[Pair], filed: &[u32]) -> Vec<(u32, u32)> {
    let mut doubts = Vec::new();
    for of_rare in pairs.chunk_by(|a, b| a.rare == b.rare) {
        let rare = of_rare[0].rare;
        let likely = |p: &&Pair| i32::from(p.score) + frequency(forms.mentions(p.frequent));
        let names = of_rare
            .iter()
            .filter(|p| filed[p.frequent as usize] == p.frequent);
        let best = names.max_by_key(|p| (likely(p), std::cmp::Reverse(p.frequent)));
        let least = |p: &&Pair| least(forms, rare, p.frequent) - THRESHOLD + DOUBTFUL;
        if let Some(best) = best.filter(|p| i32::from(p.score) > least(p))
            && filed[rare as usize] == rare
        {
            doubts.push((rare, best.frequent));
        }
    }
    doubts
}

/// What the score of a rare form and a name must exceed.
fn least(forms: &Forms, rare: u32, name: u32) -> i32 {
    let share = of_name(forms.text(rare));
    least_in_crowd(
        forms.len(),
        share,
        forms.mentions(rare),
        forms.mentions(name),
    )
}

/// The name that is most likely meant: the frequent are misspelt more often. None is chosen where
/// another is nearly as likely: a wrong merge costs more than a missed one.
fn choose(names: &[(u32, i32)], forms: &Forms) -> Option<(u32, i32)> {
    let likely = |&(name, score): &(u32, i32)| score + frequency(forms.mentions(name));
    let best = names
        .iter()
        .max_by_key(|n| (likely(n), std::cmp::Reverse(n.0)))?;
    let rival = names.iter().filter(|n| n.0 != best.0).map(likely).max();
    let clear = rival.is_none_or(|rival| likely(best) - rival >= MARGIN);
    (best.1 > THRESHOLD && clear).then_some(*best)
}
