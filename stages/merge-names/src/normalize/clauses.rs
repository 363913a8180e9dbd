//! The clauses of a mention: credits, captions after a dash, "Last, First", brackets and nicknames.

use std::borrow::Cow;

use compact_str::CompactString;

use super::bare::{bare, small};
use super::knowledge::Knowledge;
use super::lexicon::LEXICON;
use super::spelling::{Rejection, Spelling};
use super::vocabulary::list;
use super::word::is_suffix;
use super::words;
use crate::fold::fold_key;

/// File endings of images.
const FILE_ENDINGS: [&str; 7] = [".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif"];

/// The name in a repaired mention.
pub(super) fn read_mention(text: &str, knowledge: &Knowledge) -> Result<Spelling, Rejection> {
    let text = &*without_handles(without_file_ending(text));
    let lower = small(text);
    if is_address(&lower) || LEXICON.is_no_name(lower.trim_end_matches(['.', ',', '!', '?', '\'']))
    {
        return Err(Rejection::NotAName);
    }
    let text = &*without_slug(text);
    let text = split_hashtag(text);
    let text = without_nicknames(without_brackets(text));
    if !text.contains(['/', '|', ';', ':', '-']) {
        return read_clause(text.trim(), knowledge);
    }
    let mut best: Option<Result<Spelling, Rejection>> = None;
    let mut full_names: Vec<String> = Vec::new();
    for clause in clauses(&text) {
        let found = if clause.lists_people && is_agency(clause.text) {
            Err(Rejection::NotAName)
        } else {
            read_clause(clause.text, knowledge)
        };
        if let Ok(spelling) = &found
            && !spelling.mononym
            && (clause.lists_people || full_names.is_empty())
            && !full_names.contains(&fold_key(&spelling.name))
        {
            full_names.push(fold_key(&spelling.name));
        }
        // What follows a name after a dash is about it: `Emma Watson - Sunsets & Sunrises`.
        let beside = !clause.lists_people
            && found == Err(Rejection::SeveralPeople)
            && !full_names.is_empty();
        if !beside && best.as_ref().is_none_or(|b| rank(&found) > rank(b)) {
            best = Some(found);
        }
    }
    if full_names.len() > 1 {
        Err(Rejection::SeveralPeople)
    } else {
        best.unwrap_or(Err(Rejection::NotAName))
    }
}

/// What the first clause may be beaten by: several people are never beaten, a name beats a mononym
/// beats nothing.
fn rank(found: &Result<Spelling, Rejection>) -> u8 {
    match found {
        Err(Rejection::NotAName) => 0,
        Ok(spelling) if spelling.mononym => 1,
        Ok(_) => 2,
        Err(Rejection::SeveralPeople) => 3,
    }
}

fn without_file_ending(text: &str) -> &str {
    let ending = FILE_ENDINGS.iter().find(|e| {
        let at = text
            .len()
            .checked_sub(e.len())
            .filter(|at| text.is_char_boundary(*at));
        at.is_some_and(|at| text[at..].eq_ignore_ascii_case(e))
    });
    ending.map_or(text, |e| &text[..text.len() - e.len()])
}

/// `Emma Watson @emmawatson` → `Emma Watson`: handles go where two words are left.
fn without_handles(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let words: Vec<&str> = text.split(' ').filter(|w| !w.starts_with('@')).collect();
    if words.len() < 2 {
        return Cow::Borrowed(text);
    }
    Cow::Owned(words.join(" "))
}

/// `kate-hudson-at-the-oscars` → `kate hudson at the oscars`: names of files have hyphens for spaces.
fn without_slug(text: &str) -> Cow<'_, str> {
    let hyphens = text.bytes().filter(|b| *b == b'-').count();
    let least = if text.chars().any(char::is_uppercase) {
        3
    } else {
        2
    };
    if hyphens < least || text.contains(' ') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('-', " "))
}

fn is_address(lower: &str) -> bool {
    lower.contains([':', '.', '@'])
        && ["http:", "https:", "www.", ".com", ".org", ".net", "@"]
            .iter()
            .any(|mark| lower.contains(mark))
}

/// `#EmmaWatson` → `Emma Watson`; other `#` are dropped.
fn split_hashtag(text: &str) -> Cow<'_, str> {
    if !text.contains('#') {
        return Cow::Borrowed(text);
    }
    let split = |word: &str| {
        let Some(tag) = word.strip_prefix('#') else {
            return word.replace('#', "");
        };
        let mut out = String::with_capacity(tag.len() + 2);
        let mut after_small = false;
        for c in tag.chars() {
            if c.is_uppercase() && after_small {
                out.push(' ');
            }
            after_small = c.is_lowercase();
            out.push(c);
        }
        out
    };
    Cow::Owned(text.split(' ').map(split).collect::<Vec<_>>().join(" "))
}

/// Cuts brackets with what they hold, unless nothing would be left; then only the signs go.
fn without_brackets(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(['(', ')', '[', ']', '{', '}']) {
        return text;
    }
    let (mut out, mut depth) = (String::with_capacity(text.len()), 0u32);
    let worded = |side: &str| side.chars().any(char::is_alphabetic);
    let opens = |at: usize| text[at..].contains([')', ']', '}']) || worded(&text[..at]);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' if depth > 0 || opens(at) => depth += 1,
            ')' | ']' | '}' if depth > 0 => {
                depth -= 1;
                out.push(' ');
            }
            '(' | '[' | '{' | ')' | ']' | '}' => out.push(' '),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    Cow::Owned(if out.chars().any(char::is_alphanumeric) {
        out
    } else {
        text.replace(['(', ')', '[', ']', '{', '}'], " ")
    })
}

/// Cuts `"nickname"` and ` 'nickname' ` between words, and what follows "aka".
fn without_nicknames(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut text = text;
    if text.contains(['"', '\'']) {
        if let Some(cut) = cut_quoted(&text, "\"", "\"") {
            text = Cow::Owned(cut);
        }
        if let Some(cut) = cut_quoted(&text, " '", "' ") {
            text = Cow::Owned(cut);
        }
        text = Cow::Owned(text.replace('"', " "));
    }
    if !may_be_renamed(&text) {
        return text;
    }
    let lower = small(&text);
    let at = [
        " aka ", " a.k.a. ", " a.k.a ", " née ", " nee ", " born ", " et al",
    ]
    .iter()
    .filter_map(|mark| lower.find(mark))
    .min();
    match at {
        // Lower-casing may move bytes: then the cut is not where it was found, and nothing is cut.
        Some(at) if lower.len() == text.len() && text.is_char_boundary(at) => {
            Cow::Owned(text[..at].to_owned())
        }
        _ => text,
    }
}

/// Whether a word begins as those do that begin another name.
fn may_be_renamed(text: &str) -> bool {
    let starts = |pair: &[u8]| pair[0] == b' ' && matches!(pair[1] | 32, b'a' | b'b' | b'e' | b'n');
    text.as_bytes().windows(2).any(starts)
}

/// `before after` where `text` is `before“held”after` and both sides hold a word.
fn cut_quoted(text: &str, open: &str, close: &str) -> Option<String> {
    let (before, rest) = text.split_once(open)?;
    let (_, after) = rest.split_once(close)?;
    let worded = |side: &str| side.chars().any(char::is_alphabetic);
    (worded(before) && worded(after)).then(|| format!("{before} {after}"))
}

struct Clause<'a> {
    text: &'a str,
    /// Joined by a sign that lists people (`/`, `|`): a second full name makes several people.
    lists_people: bool,
}

/// Cuts at `/ | : ;`, at ` - `, and at a dash at either end.
fn clauses(text: &str) -> Vec<Clause<'_>> {
    let mut all = Vec::new();
    for (i, listed) in text.split(['/', '|', ';']).enumerate() {
        let parts = listed.split(" - ").flat_map(|part| part.split(':'));
        for (k, part) in parts.enumerate() {
            let trimmed = part.trim().trim_matches('-');
            all.push(Clause {
                text: trimmed.trim(),
                lists_people: i > 0 && k == 0,
            });
        }
    }
    all
}

/// Whether a credit names an agency: its name, and words that are no names (`Rex Features`).
fn is_agency(clause: &str) -> bool {
    let mut words = clause.split_whitespace().map(bare);
    words.next().is_some_and(|w| LEXICON.is(&w, list::AGENCY))
        && words.all(|w| LEXICON.is(&w, list::AGENCY) || LEXICON.is_common(&w))
}

/// The name in one clause, whose commas may stand before a suffix, in "Last, First", or between
/// people.
fn read_clause(clause: &str, knowledge: &Knowledge) -> Result<Spelling, Rejection> {
    if clause
        .split_whitespace()
        .all(|w| LEXICON.is(&bare(w), list::AGENCY))
    {
        return Err(Rejection::NotAName);
    }
    let mut suffix = "";
    let mut parts = Vec::new();
    for part in clause.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if parts.is_empty() && suffix.is_empty() {
            parts.push(part);
            continue;
        }
        match bare(part) {
            word if is_suffix(word.trim_end_matches("'s")) => suffix = part,
            word if LEXICON.is(&word, list::CREDENTIAL) => {}
            _ => parts.push(part),
        }
    }
    let with_suffix = |text: &str| {
        if suffix.is_empty() {
            words::read_words(text.trim(), knowledge)
        } else {
            words::read_words(format!("{text} {suffix}").trim(), knowledge)
        }
    };
    match parts.as_slice() {
        [] => Err(Rejection::NotAName),
        [only] => with_suffix(only),
        [first, second, rest @ ..] => {
            if LEXICON.is(&bare(second), list::AFTER_COMMA) {
                return Err(Rejection::NotAName);
            }
            if is_last_first(first, second) && rest.is_empty() {
                return with_suffix(&format!("{second} {first}"));
            }
            let (one, other) = (with_suffix(first), words::read_words(second, knowledge));
            match (&one, &other) {
                (Ok(a), Ok(b)) if !a.mononym && !b.mononym && a.name != b.name => {
                    Err(Rejection::SeveralPeople)
                }
                (Ok(a), Err(Rejection::SeveralPeople)) if !a.mononym => other,
                (Err(Rejection::NotAName), Ok(_)) => other,
                _ => one,
            }
        }
    }
}

/// Whether "`first`, `second`" is a surname and its given names.
fn is_last_first(first: &str, second: &str) -> bool {
    let (last, given): (Vec<_>, Vec<_>) = (first.split(' ').collect(), second.split(' ').collect());
    let words = |list: &[&str]| list.iter().map(|w| bare(w)).collect::<Vec<_>>();
    let (last_bare, given_bare) = (words(&last), words(&given));
    let plain = |list: &[CompactString]| {
        list.iter().all(|w| {
            !w.is_empty() && !LEXICON.is_only_thing(w) && !w.contains(|c: char| c.is_ascii_digit())
        })
    };
    if given.len() > 3
        || last.len() > 4
        || !plain(&last_bare)
        || !plain(&given_bare)
        || given_bare[0] == "duke"
    {
        return false;
    }
    let capitals =
        |text: &str| text.chars().any(char::is_alphabetic) && !text.chars().any(char::is_lowercase);
    let particle_first = last.len() > 1 && LEXICON.is(&last_bare[0], list::PARTICLE);
    let given_known = LEXICON.is_given_name(&given_bare[0]) || given_bare[0].chars().count() == 1;
    match last.len() {
        1 => {
            !LEXICON.is(&given_bare[0], list::LEADING)
                && (given_known || !LEXICON.is(&last_bare[0], list::LASTING_TITLE))
        }
        _ if particle_first || (capitals(first) && !capitals(second)) => true,
        2 => {
            given.len() == 1
                && given_known
                && !LEXICON.is_given_name(&last_bare[0])
                && !LEXICON.is(&last_bare[0], list::LEADING)
        }
        _ => false,
    }
}
