//! What is to be forgotten: lines of text to tombstones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use laioncele_core::forgotten::{Forgotten, words};
use laioncele_core::table::{Candidate, Match, MergedName, PhotoPrint, SpellingCount, Verdict};
use laioncele_core::{CoreError, ImageId, NameId, Part, Row, TableId};
use laioncele_report::RunView;

use super::Taken;
use crate::failure::{Exit, Failure};
use crate::run_view;
use crate::session::Session;

/// Bytes of a list at most.
const MOST_BYTES: u64 = 64 << 20;

/// Everything that was asked for.
///
/// # Errors
/// A list that cannot be read, or is too large.
pub(super) fn asked(what: &[String], list: Option<&Path>) -> Result<Vec<String>, Failure> {
    let mut asked: Vec<String> = what.iter().map(|text| text.trim().to_owned()).collect();
    if let Some(list) = list {
        let io = |e| Failure::from(CoreError::from_io(list, e));
        let mut text = String::new();
        let file = File::open(list).map_err(io)?;
        file.take(MOST_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() as u64 > MOST_BYTES {
            let text = format!("{}: more than {MOST_BYTES} bytes", list.display());
            return Err(Failure::new(Exit::Usage, text));
        }
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        asked.extend(lines.map(str::to_owned));
    }
    let empty = |text: &&String| !text.contains("://") && words(text).is_empty();
    match asked.iter().find(empty) {
        Some(text) => Err(Failure::new(
            Exit::Usage,
            format!("`{text}` is no name, url or SHA-256"),
        )),
        None => Ok(asked),
    }
}

/// Random bytes of the system.
///
/// # Errors
/// A system that has none.
pub(super) fn salt() -> Result<[u8; 16], Failure> {
    let mut salt = [0; 16];
    let path = Path::new("/dev/urandom");
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut salt));
    read.map_err(|e| CoreError::from_io(path, e))?;
    Ok(salt)
}

/// Adds the tombstones of what was asked for.
///
/// # Errors
/// Tables that cannot be read: with one of them missing, spellings might be overlooked.
pub(super) fn add(
    session: &Session,
    asked: &[String],
    stones: &mut Forgotten,
    taken: &mut Taken,
) -> Result<(), Failure> {
    let view = run_view::of_session(session)?.view;
    let (mut names, mut spellings) = (BTreeSet::new(), BTreeSet::new());
    let mut hashes = BTreeSet::new();
    for text in asked {
        if text.contains("://") {
            stones.add_url(text);
            let image = ImageId::of(text);
            let found = of_images::<PhotoPrint>(&view, |_, id| id == image.0);
            if of_images::<Candidate>(&view, |_, id| id == image.0).is_empty() {
                taken.unknown.push(text.clone());
            }
            hashes.extend(found.into_iter().map(|row| row.sha256));
            taken.images += 1;
        } else if is_sha256(text) {
            hashes.insert(text.to_ascii_lowercase());
            taken.images += 1;
        } else {
            let found = named(&view, text);
            if found.is_empty() {
                taken.unknown.push(text.clone());
            }
            for name in found {
                names.insert(name.name_id);
                spellings.extend(name.aliases.into_iter().map(|alias| alias.spelling));
                spellings.insert(name.name);
            }
            stones.add_name(NameId::of(text));
            spellings.insert(text.clone());
        }
    }
    for name in &names {
        stones.add_name(*name);
    }
    for spelling in &spellings {
        stones.add_spelling(spelling);
    }
    // A single word that was taken for a name once is too common to keep out; longer ones that hold a spelling are kept out by it.
    for spelling in written(&view, &names) {
        if words(&spelling).len() > 1 && !stones.is_named_in(&spelling) {
            stones.add_spelling(&spelling);
            spellings.insert(spelling);
        }
    }
    hashes.extend(shown(&view, &names));
    same_photos(&view, &hashes, stones);
    taken.names = names.len();
    taken.spellings = spellings.len();
    stones.count(taken.names as u64, taken.images as u64);
    let remarks = view.remarks();
    match remarks.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(Exit::Environment, first.clone())
            .hint("`laioncele verify --repair` and `laioncele run` make the tables whole; then forget again")),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The names that have `text` for a spelling.
fn named(view: &RunView, text: &str) -> Vec<MergedName> {
    let wanted = words(text);
    let same = |spelling: &str| words(spelling) == wanted;
    let mut found = Vec::new();
    for part in view.parts(TableId::MergedNames) {
        let rows = view.rows::<MergedName>(std::iter::once(part)).into_iter();
        found.extend(rows.filter(|row| {
            same(&row.name) || row.aliases.iter().any(|alias| same(&alias.spelling))
        }));
    }
    found
}

/// The spellings that captions have of these names: before they are normalized.
fn written(view: &RunView, names: &BTreeSet<NameId>) -> Vec<String> {
    let mut found = Vec::new();
    for part in view.parts(TableId::Spellings) {
        let of_shard = |p: &&Part| p.partition == part.partition;
        let verdicts = view.rows::<Verdict>(view.parts(TableId::Verdicts).filter(of_shard));
        let own = verdicts
            .iter()
            .filter(|v| v.name_id.is_some_and(|id| names.contains(&id)));
        let own: BTreeSet<u32> = own.map(|v| v.row).collect();
        if own.is_empty() {
            continue;
        }
        let rows = view.rows::<SpellingCount>(std::iter::once(part));
        let rows = (0u32..).zip(rows).filter(|(at, _)| own.contains(at));
        found.extend(rows.map(|(_, row)| row.spelling));
    }
    found
}

/// SHA-256 of the photos that show people of `names`: they go whatever other name they are filed under too, and do not come back
/// behind another url.
fn shown(view: &RunView, names: &BTreeSet<NameId>) -> Vec<String> {
    let matched = of_images::<Match>(view, |name, _| names.contains(&NameId(name)));
    let images: BTreeSet<u64> = matched.into_iter().map(|row| row.image_id.0).collect();
    let prints = of_images::<PhotoPrint>(view, |_, id| images.contains(&id));
    prints.into_iter().map(|row| row.sha256).collect()
}

/// Adds photos by their bytes, and every image that has these.
fn same_photos(view: &RunView, hashes: &BTreeSet<String>, stones: &mut Forgotten) {
    for hash in hashes {
        stones.add_sha256(hash);
    }
    if hashes.is_empty() {
        return;
    }
    for row in view.table::<PhotoPrint>() {
        if hashes.contains(&row.sha256) {
            stones.add_image(row.image_id);
        }
    }
}

fn of_images<R: Row>(view: &RunView, mut wanted: impl FnMut(u64, u64) -> bool) -> Vec<R> {
    let mut rows = Vec::new();
    for part in view.parts(R::TABLE) {
        rows.extend(view.select::<R>(part, Some("image_id"), &mut wanted));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_on_each_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("list.txt");
        std::fs::write(&list, "# asked in May\n\n Ada Byron \nhttp://a.example/1\n")
            .expect("written");
        let found = asked(&["Bea".to_owned()], Some(&list)).expect("a list");
        assert_eq!(found, ["Bea", "Ada Byron", "http://a.example/1"]);
        assert!(asked(&["--".to_owned()], None).is_err());
        assert!(asked(&[], Some(&folder.path().join("none"))).is_err());
    }

    #[test]
    fn salts_differ() {
        assert_ne!(salt().expect("a salt"), salt().expect("another"));
    }
}
