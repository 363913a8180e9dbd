//! A list of images of several systems, `systems.csv`: who made each, of whom, from which prompt. It is checked before
//! anything is scored: a table over different people or prompts compares nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use laioncele_inference::lists::ListRow;
use laioncele_inference::references::{Person, visible_entries};

use crate::entries::Entry;
use crate::error::{EvaluateError, Result};
use crate::images::{ALL, BASE_MODEL, MEAN};
use crate::people::{People, people_by_name};
use crate::prompts::{Prompted, read_records};

/// The system of a list that has no column `system`.
const UNNAMED: &str = "images";
/// Problems that are named at most.
const SHOWN: usize = 20;
/// Columns that are read.
const COLUMNS: [&str; 7] = [
    "system",
    "image",
    "person",
    "prompt",
    "group",
    "seed",
    "reference",
];

/// What is asked of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks {
    /// Systems may have different people and prompts.
    pub unequal: bool,
}

/// The images of several systems and the people's reference photos.
#[derive(Debug)]
pub struct Systems {
    /// In the list's order.
    pub(crate) entries: Vec<Entry>,
    pub(crate) people: People,
}

/// A line of the list.
struct Line {
    number: usize,
    entry: Entry,
    image: String,
    reference: Option<PathBuf>,
}

impl Systems {
    /// Reads a list, `.csv` with a header or `.jsonl`: `image` and, where wanted, `system`, `person` (empty: the base
    /// model's), `prompt`, `group`, `seed`, `reference` (a photo or a folder of photos). Paths start at `root`. People whom
    /// no line gives a reference have those of the folder `references`.
    ///
    /// # Errors
    /// [`EvaluateError::Systems`] with every problem and its line: no such file, an image that a system has twice, a
    /// group that is none, a prompt in two groups, people without a reference where others have one, systems with
    /// different people or prompts.
    pub fn read(
        list: &Path,
        root: &Path,
        references: Option<&Path>,
        checks: Checks,
    ) -> Result<Self> {
        let records = read_records(list)?;
        let mut problems = Vec::new();
        check_columns(&records, &mut problems);
        let lines: Vec<Line> = (records.into_iter())
            .filter_map(|record| line(record, root, &mut problems))
            .collect();
        if lines.is_empty() && problems.is_empty() {
            problems.push("no image is listed".to_owned());
        }
        check_files(&lines, &mut problems);
        check_groups(&lines, &mut problems);
        let people = people(&lines, references, &mut problems)?;
        check_references(&lines, &people, &mut problems);
        if !checks.unequal {
            check_equal(&lines, &mut problems);
        }
        let mut entries: Vec<Entry> = lines.into_iter().map(|line| line.entry).collect();
        name_base(&mut entries, &mut problems);
        if problems.is_empty() {
            return Ok(Self { entries, people });
        }
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        problems.extend((more > 0).then(|| format!("… and {more} more")));
        Err(EvaluateError::Systems {
            path: list.to_owned(),
            problems,
        })
    }
}

fn check_columns(records: &[ListRow], problems: &mut Vec<String>) {
    let names: BTreeSet<&str> = records
        .iter()
        .flat_map(|r| r.fields.keys().map(String::as_str))
        .collect();
    if !records.is_empty() && !names.contains("image") {
        let found: Vec<&str> = names.iter().copied().collect();
        problems.push(format!(
            "line 1: no column `image`; there are {}, and {} are read",
            found.join(", "),
            COLUMNS.join(", ")
        ));
    }
}

fn line(mut record: ListRow, root: &Path, problems: &mut Vec<String>) -> Option<Line> {
    let mut take = |name: &str| {
        let value = record.fields.remove(name).unwrap_or_default();
        (!value.trim().is_empty()).then_some(value)
    };
    let number = record.line;
    let image = take("image");
    let Some(image) = image.map(|image| image.trim().replace('\\', "/")) else {
        // Without the column that has been said once.
        if problems.is_empty() {
            problems.push(format!("line {number}: no image"));
        }
        return None;
    };
    if let Some(seed) = take("seed").filter(|seed| seed.trim().parse::<f64>().is_err()) {
        problems.push(format!("line {number}: the seed `{seed}` is no number"));
    }
    let group = take("group").map(|group| group.trim().to_owned());
    let entry = Entry {
        system: take("system").map_or(UNNAMED.to_owned(), |s| s.trim().to_owned()),
        person: take("person").map_or(String::new(), |p| p.trim().to_owned()),
        path: root.join(&image),
        prompted: take("prompt").map(|prompt| Prompted {
            image: image.clone(),
            prompt,
            group,
        }),
    };
    let reference = take("reference").map(|r| root.join(r.trim().replace('\\', "/")));
    Some(Line {
        number,
        entry,
        image,
        reference,
    })
}

/// Files that are missing, images that a system has twice.
fn check_files(lines: &[Line], problems: &mut Vec<String>) {
    let mut seen: BTreeMap<(&str, PathBuf), usize> = BTreeMap::new();
    for line in lines {
        let (path, number) = (&line.entry.path, line.number);
        if !path.is_file() {
            problems.push(format!("line {number}: {} is no file", path.display()));
            continue;
        }
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(first) = seen.insert((&line.entry.system, whole), number) {
            let (image, system) = (&line.image, &line.entry.system);
            problems.push(format!(
                "line {number}: `{image}` is listed twice for `{system}`, first on line {first}"
            ));
        }
        if let Some(reference) = line.reference.as_ref().filter(|r| !r.exists()) {
            problems.push(format!(
                "line {number}: the reference {} does not exist",
                reference.display()
            ));
        }
    }
}

/// Groups that are none, prompts that are in two.
fn check_groups(lines: &[Line], problems: &mut Vec<String>) {
    let mut groups: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for Line { number, entry, .. } in lines {
        let Some(Prompted {
            prompt,
            group: Some(group),
            ..
        }) = &entry.prompted
        else {
            continue;
        };
        if [ALL, MEAN].contains(&group.as_str()) {
            problems.push(format!(
                "line {number}: `{group}` is no group of prompts: the table calls all images and the mean so"
            ));
        }
        let (known, first) = groups.entry(prompt).or_insert((group, *number));
        if known != group {
            problems.push(format!(
                "line {number}: the group `{group}` is unknown for this prompt, which is of `{known}` on line {first}"
            ));
        }
    }
}

/// The people with their photos: those that lines name, and those of the folder.
fn people(lines: &[Line], references: Option<&Path>, problems: &mut Vec<String>) -> Result<People> {
    let mut named: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.entry.person != BASE_MODEL) {
        let Some(reference) = line.reference.as_ref().filter(|r| r.exists()) else {
            continue;
        };
        let of_person = named.entry(line.entry.person.clone()).or_default();
        if reference.is_dir() {
            match visible_entries(reference) {
                Ok(photos) => of_person.extend(photos.into_iter().filter(|p| p.is_file())),
                Err(error) => problems.push(format!("line {}: {error}", line.number)),
            }
        } else {
            of_person.insert(reference.clone());
        }
    }
    let mut all = match references {
        Some(folder) => people_by_name(folder)?,
        None => BTreeMap::new(),
    };
    for (name, photos) in named {
        let word = all.get(&name).and_then(|person| person.word);
        let person = Person {
            photos: photos.into_iter().collect(),
            name: name.clone(),
            word,
        };
        all.insert(name, person);
    }
    Ok(all)
}

/// Where anybody has a reference, everybody must.
fn check_references(lines: &[Line], people: &People, problems: &mut Vec<String>) {
    let mut told = BTreeSet::new();
    for Line { number, entry, .. } in lines {
        let person = entry.person.as_str();
        let known = person == BASE_MODEL || people.contains_key(person);
        if !people.is_empty() && !known && told.insert(person) {
            problems.push(format!("line {number}: `{person}` has no reference photo"));
        }
    }
}

/// A system's people and prompts.
#[derive(Default)]
struct Covered<'a> {
    people: BTreeSet<&'a str>,
    prompts: BTreeSet<&'a str>,
}

/// Systems with other people or prompts than the others.
fn check_equal(lines: &[Line], problems: &mut Vec<String>) {
    let mut systems: BTreeMap<(bool, &str), Covered<'_>> = BTreeMap::new();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for Line { number, entry, .. } in lines {
        let is_base = entry.person == BASE_MODEL;
        let covered = systems.entry((is_base, &entry.system)).or_default();
        if !is_base {
            covered.people.insert(&entry.person);
            first.entry(&entry.person).or_insert(*number);
        }
        if let Some(prompt) = entry.prompt() {
            covered.prompts.insert(prompt);
            first.entry(prompt).or_insert(*number);
        }
    }
    let people: BTreeSet<&str> = systems
        .values()
        .flat_map(|c| c.people.iter().copied())
        .collect();
    let prompts: BTreeSet<&str> = systems
        .values()
        .flat_map(|c| c.prompts.iter().copied())
        .collect();
    for ((is_base, system), covered) in &systems {
        let mut lacks = |what: &str, all: &BTreeSet<&str>, own: &BTreeSet<&str>| {
            for missing in all.difference(own) {
                let line = first.get(missing).copied().unwrap_or(1);
                problems.push(format!(
                    "line {line}: `{system}` has no image of the {what} `{missing}`, which another system has"
                ));
            }
        };
        if !is_base {
            lacks("person", &people, &covered.people);
        }
        lacks("prompt", &prompts, &covered.prompts);
    }
}

/// Gives the base model's images a name of their own; all of them must be of one system.
fn name_base(entries: &mut [Entry], problems: &mut Vec<String>) {
    let of = |is_base: bool, entries: &[Entry]| -> BTreeSet<String> {
        let some = entries
            .iter()
            .filter(|e| (e.person == BASE_MODEL) == is_base);
        some.map(|e| e.system.clone()).collect()
    };
    let (base, others) = (of(true, entries), of(false, entries));
    if base.len() > 1 {
        let names: Vec<String> = base.iter().map(|name| format!("`{name}`")).collect();
        problems.push(format!(
            "{} have images without a person: only one system may be the base model",
            names.join(" and ")
        ));
    }
    if base.is_disjoint(&others) {
        return;
    }
    let free = [crate::PLAIN, "plain", "base model"];
    let name = free
        .into_iter()
        .find(|name| !others.contains(*name))
        .unwrap_or("nobody");
    for entry in entries.iter_mut().filter(|e| e.person == BASE_MODEL) {
        name.clone_into(&mut entry.system);
    }
}

#[cfg(test)]
mod tests;
