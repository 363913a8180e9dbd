//! From names to the files that define them.

use std::collections::BTreeSet;

use super::Graph;
use super::read::{Module, Modules};

/// How many re-exports a name is followed through; a longer chain is taken for a ring of globs.
const STEPS: usize = 32;

/// Which file names which.
pub(super) fn edges(modules: &Modules) -> Graph {
    let mut graph = Graph::new();
    for (path, module) in modules {
        let known = known_to(modules, path, module);
        let entry = graph.entry(module.file.clone()).or_default();
        entry.extend(
            known
                .into_iter()
                .filter(|k| *k != module.file && !is_inside(&module.file, k)),
        );
    }
    graph
}

/// Whether one module is the other's child, or a child's child.
fn is_inside(module: &str, other: &str) -> bool {
    module
        .strip_prefix(other)
        .is_some_and(|rest| rest.starts_with("::"))
}

fn known_to(modules: &Modules, path: &str, module: &Module) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut add = |written: &[String]| {
        if let Some(definer) = definer(modules, path, written, STEPS) {
            known.insert(modules[&definer].file.clone());
        }
    };
    for (name, import) in &module.imports {
        let used = module.paths.iter().any(|p| p[0] == *name);
        if used || !import.exported {
            add(&import.path);
        }
    }
    for written in &module.paths {
        if written.len() > 1 || !module.items.contains(&written[0]) {
            add(written);
        }
    }
    known
}

/// The module that defines what `written` names inside the module `at`; `None` for what is not this crate's.
fn definer(modules: &Modules, at: &str, written: &[String], steps: usize) -> Option<String> {
    let steps = steps.checked_sub(1)?;
    let (first, mut rest) = written.split_first()?;
    let mut here = match first.as_str() {
        "crate" => "crate".to_owned(),
        "self" => at.to_owned(),
        "super" => {
            let mut parent = at.rsplit_once("::")?.0;
            while rest.first().is_some_and(|w| w == "super") {
                (parent, rest) = (parent.rsplit_once("::")?.0, &rest[1..]);
            }
            parent.to_owned()
        }
        _ => return inside(modules, at, written, steps, true),
    };
    if rest.is_empty() {
        return Some(here);
    }
    while rest.len() > 1 && modules.contains_key(&format!("{here}::{}", rest[0])) {
        here = format!("{here}::{}", rest[0]);
        rest = &rest[1..];
    }
    // A path to what this module does not say itself still names the module.
    inside(modules, &here, rest, steps, false).or(Some(here))
}

/// The module that defines `rest`, seen from inside `here`.
fn inside(
    modules: &Modules,
    here: &str,
    rest: &[String],
    steps: usize,
    own: bool,
) -> Option<String> {
    let module = modules.get(here)?;
    let child = format!("{here}::{}", rest[0]);
    if modules.contains_key(&child) {
        return match rest.len() {
            1 => Some(child),
            _ => inside(modules, &child, &rest[1..], steps, false).or(Some(child)),
        };
    }
    if let Some(import) = module.imports.get(&rest[0]) {
        if own && rest.len() == 1 {
            return None; // Its `use` has been counted.
        }
        let path: Vec<String> = import.path.iter().chain(&rest[1..]).cloned().collect();
        return (path[0] != rest[0] || path.len() > rest.len())
            .then(|| definer(modules, here, &path, steps))
            .flatten();
    }
    if module.items.contains(&rest[0]) {
        return Some(here.to_owned());
    }
    module.globs.iter().find_map(|glob| {
        let source = definer(modules, here, glob, steps)?;
        (source != here && offers(modules, &source, &rest[0], steps))
            .then(|| inside(modules, &source, rest, steps, false))?
    })
}

fn offers(modules: &Modules, path: &str, name: &str, steps: usize) -> bool {
    let Some(steps) = steps.checked_sub(1) else {
        return false;
    };
    let Some(module) = modules.get(path) else {
        return false;
    };
    module.items.contains(name)
        || module.imports.get(name).is_some_and(|i| i.exported)
        || modules.contains_key(&format!("{path}::{name}"))
        || module.globs.iter().any(|glob| {
            definer(modules, path, glob, steps)
                .is_some_and(|s| s != path && offers(modules, &s, name, steps))
        })
}
