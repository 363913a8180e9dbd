//! What a query stands for in a run, and the spellings nearest to one that stands for nothing.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::table::{
    Candidate, FiledMention, Mention, MergedName, Photo, SpellingCount, Verdict,
};
use laioncele_core::{CaptionId, ImageId, NameId, Part, TableId};

use super::{Found, Node};
use crate::numbers::counted;
use crate::view::RunView;

/// Things of one kind that are explained at most.
const MOST: usize = 20;
/// Nearest spellings that are told, and how near they are at least (Jaro and Winkler's measure).
const NEAREST: usize = 5;
const NEAR: f64 = 0.75;

/// Finds a name, a url, the SHA-256 of a photo or an id. Of a url with the text of a caption, that caption.
pub(super) fn find(view: &RunView, query: &str, caption: Option<&str>) -> Found {
    let mut found = Found::default();
    if let Some(text) = caption {
        found.captions = captions(view, CaptionId::of(query, text).0);
        return found;
    }
    for id in ids(query) {
        if found.is_empty() {
            by_id(view, id, &mut found);
        }
    }
    if query.contains("://") {
        by_image(view, ImageId::of(query), &mut found);
    } else if !found.is_empty() {
        return found;
    } else if is_sha256(query) {
        found.images = by_sha256(view, &query.to_ascii_lowercase());
    } else {
        found.names = names(view, query);
        if found.names.is_empty() {
            by_written_spelling(view, query, &mut found);
        }
    }
    found
}

/// What ids the query may be: in 16 hexadecimal digits, as reports have them, or as the number that tables hold.
fn ids(query: &str) -> impl Iterator<Item = u64> {
    let is_hexadecimal = query.len() == 16 && query.bytes().all(|b| b.is_ascii_hexdigit());
    let hexadecimal = is_hexadecimal.then(|| u64::from_str_radix(query, 16).ok());
    let is_number = query.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| query.parse().ok());
    [hexadecimal, number].into_iter().flatten().flatten()
}

fn is_sha256(query: &str) -> bool {
    query.len() == 64 && query.bytes().all(|b| b.is_ascii_hexdigit())
}

fn by_id(view: &RunView, id: u64, found: &mut Found) {
    for part in view.parts(TableId::MergedNames) {
        let rows = view.select::<MergedName>(part, None, |name, _| name == id);
        found.names.extend(rows.into_iter().map(|row| row.name_id));
    }
    if found.names.is_empty() {
        by_image(view, ImageId(id), found);
    }
    if found.is_empty() {
        found.captions = captions(view, id);
    }
}

/// An image as the names have it that it is filed under; where no name is left of those that its captions mention, the captions.
fn by_image(view: &RunView, id: ImageId, found: &mut Found) {
    found.images = images(view, |_, image| image == id.0);
    if !found.images.is_empty() {
        return;
    }
    let mut captions = BTreeSet::new();
    for part in view.parts(TableId::Mentions) {
        let rows = view.rows::<Mention>(std::iter::once(part)).into_iter();
        let of_image = rows.filter(|row| row.image_id == id);
        captions.extend(of_image.map(|row| row.caption_id));
    }
    found.captions = captions.into_iter().take(MOST).collect();
}

/// The candidates that `wanted` holds for, by name and image.
fn images(view: &RunView, mut wanted: impl FnMut(u64, u64) -> bool) -> Vec<(NameId, ImageId)> {
    let mut found = BTreeSet::new();
    for part in view.parts(TableId::Candidates) {
        let rows = view.select::<Candidate>(part, Some("image_id"), &mut wanted);
        found.extend(rows.into_iter().map(|row| (row.name_id, row.image_id)));
    }
    found.into_iter().take(MOST).collect()
}

fn by_sha256(view: &RunView, sha256: &str) -> Vec<(NameId, ImageId)> {
    let mut found = BTreeSet::new();
    for part in view.parts(TableId::PhotoPrints) {
        let rows = view.rows::<laioncele_core::table::PhotoPrint>(std::iter::once(part));
        let same = rows.into_iter().filter(|row| row.sha256 == sha256);
        found.extend(same.map(|row| (row.name_id, row.image_id)));
    }
    if found.is_empty() && !view.has(TableId::PhotoPrints) {
        for part in view.parts(TableId::Photos) {
            let rows = view.rows::<Photo>(std::iter::once(part)).into_iter();
            let same = rows.filter(|row| row.sha256 == sha256);
            found.extend(same.map(|row| (row.name_id, row.image_id)));
        }
    }
    found.into_iter().take(MOST).collect()
}

fn captions(view: &RunView, id: u64) -> Vec<CaptionId> {
    let is_mention = view.parts(TableId::Mentions).any(|part| {
        let rows = view.rows::<Mention>(std::iter::once(part));
        rows.iter().any(|row| row.caption_id.0 == id)
    });
    let is_dropped = || !super::image::dropped(view, |_, dropped| dropped == id).is_empty();
    match is_mention || is_dropped() {
        true => vec![CaptionId(id)],
        false => Vec::new(),
    }
}

/// How spellings are compared: without case, and with single blanks.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// The names with this spelling.
fn names(view: &RunView, query: &str) -> Vec<NameId> {
    let (wanted, mut found) = (plain(query), BTreeSet::new());
    for_each_name(view, |row| {
        let spellings = row.aliases.iter().map(|alias| alias.spelling.as_str());
        if spellings
            .chain([row.name.as_str()])
            .any(|s| plain(s) == wanted)
        {
            found.insert(row.name_id);
        }
    });
    found.into_iter().take(MOST).collect()
}

fn for_each_name(view: &RunView, mut look: impl FnMut(MergedName)) {
    for part in view.parts(TableId::MergedNames) {
        let rows = view.rows::<MergedName>(std::iter::once(part));
        rows.into_iter().for_each(&mut look);
    }
}

/// What merge-names decided on a spelling as captions have it: the names that it is filed under, or why it is none.
fn by_written_spelling(view: &RunView, query: &str, found: &mut Found) {
    let wanted = plain(query);
    let (mut names, mut reasons) = (BTreeSet::new(), BTreeMap::new());
    for part in view.parts(TableId::Spellings) {
        let rows = view.rows::<SpellingCount>(std::iter::once(part));
        let is_wanted = |(_, row): &(usize, &SpellingCount)| plain(&row.spelling) == wanted;
        let found: BTreeMap<u32, &SpellingCount> = (rows.iter().enumerate())
            .filter(is_wanted)
            .map(|(at, row)| (at as u32, row))
            .collect();
        if found.is_empty() {
            continue;
        }
        let of_shard = |p: &&Part| p.partition == part.partition;
        for verdict in view.rows::<Verdict>(view.parts(TableId::Verdicts).filter(of_shard)) {
            let Some(row) = found.get(&verdict.row) else {
                continue;
            };
            match verdict.reason {
                None => names.extend(verdict.name_id),
                Some(reason) => {
                    let entry = reasons.entry(reason.to_string());
                    let (mentions, _) = entry.or_insert((0, row.spelling.clone()));
                    *mentions += row.mentions;
                }
            }
        }
    }
    let node = |(reason, (mentions, spelling)): (String, (u64, String))| {
        let text = format!("`{spelling}`, {}: {reason}", counted(mentions, "mention"));
        (Node::of("merge-spellings", text), reason)
    };
    found.names = names.into_iter().take(MOST).collect();
    found.rejected = reasons.into_iter().map(node).collect();
}

/// The spellings nearest to `query`, nearest first.
pub(super) fn nearest(view: &RunView, query: &str) -> Vec<String> {
    let wanted = plain(query);
    let mut near: Vec<(f64, String)> = Vec::new();
    for_each_name(view, |row| {
        let spellings = row.aliases.into_iter().map(|alias| alias.spelling);
        for spelling in spellings.chain([row.name]) {
            let likeness = strsim::jaro_winkler(&wanted, &plain(&spelling));
            if likeness >= NEAR {
                near.push((likeness, spelling));
            }
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        near.dedup_by(|a, b| a.1 == b.1);
        near.truncate(NEAREST);
    });
    near.into_iter().map(|(_, spelling)| spelling).collect()
}

/// Some captions that name `name`, and how many mentions are filed under it.
pub(super) fn filed(view: &RunView, name: NameId) -> Vec<FiledMention> {
    let mut rows = Vec::new();
    for part in view.parts(TableId::FiledMentions) {
        rows.extend(view.select::<FiledMention>(part, None, |id, _| id == name.0));
    }
    rows
}
