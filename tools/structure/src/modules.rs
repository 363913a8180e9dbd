//! Which module of a crate knows which, and the circles among them.
//!
//! Read from tokens, not from text, so that comments and strings count for nothing. A module is a file. It knows another when it
//! names it in a path or a `use`, or uses what it imported from there; names are followed through re-exports to the file
//! that defines them. Two things do not count: a re-export alone, for a facade may list what its parts offer, and a name
//! that the head of a file's own folder declares (`super::Settings`, `crate::Error`), for the head is there to be shared.
//! Code under `#[cfg(test)]` is left out, and macros that are not reached by a path are not seen.

mod read;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Who knows whom: each module's path (`crate::plan::planner`) with the modules that it names.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The modules of the crate whose root file (`src/lib.rs`, `src/main.rs`) is given.
///
/// # Errors
/// A file that cannot be read, or is no Rust.
pub fn graph(root: &Path) -> io::Result<Graph> {
    Ok(resolve::edges(&read::crate_at(root)?))
}

/// The circles: sets of modules each of which reaches all others, sorted, without modules that stand alone.
pub fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|m| (m.as_str(), reachable(graph, m)))
        .collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, from_here) in &reached {
        let circle: Vec<String> = from_here
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|r| r.contains(module)))
            .map(|&other| other.to_owned())
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// All modules that `start` knows, directly or through others.
fn reachable<'a>(graph: &'a Graph, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = graph[start].iter().map(String::as_str).collect();
    while let Some(module) = open.pop() {
        if let Some((name, next)) = graph.get_key_value(module)
            && seen.insert(name.as_str())
        {
            open.extend(next.iter().map(String::as_str));
        }
    }
    seen
}

#[cfg(test)]
mod tests;
