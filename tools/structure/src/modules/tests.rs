use std::path::PathBuf;

use super::*;

/// A crate of these files, and the circles in it.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    circles(&graph_of(files))
}

fn graph_of(files: &[(&str, &str)]) -> Graph {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path: PathBuf = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    graph(&folder.path().join("lib.rs")).expect("a crate")
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; pub use a::A;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B; pub fn f(_: &crate::a::A) {}"),
    ]);
    assert_eq!(found, [["crate::a", "crate::b"]]);
}

#[test]
fn names_are_followed_through_re_exports_and_facades_know_nothing() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
        ("a.rs", "use crate::B; pub struct A(B);"),
        ("b.rs", "pub struct B;"),
    ];
    let graph = graph_of(&files);
    assert_eq!(graph["crate::a"], BTreeSet::from(["crate::b".to_owned()]));
    assert!(circles(&graph).is_empty());
}

#[test]
fn a_file_may_use_what_the_heads_of_its_folders_declare() {
    let head = (
        "a/mod.rs",
        "mod inner; pub struct A; pub fn f() { inner::g(&A) }",
    );
    let root = ("lib.rs", "mod a; mod b; pub struct Error;");
    let found = circles_of(&[
        root,
        head,
        (
            "a/inner.rs",
            "use super::A; pub fn g(_: &A) -> crate::Error {}",
        ),
        ("b.rs", ""),
    ]);
    assert!(found.is_empty(), "{found:?}");

    let found = circles_of(&[
        root,
        head,
        ("a/inner.rs", "use crate::b::B; pub fn g(_: &super::A) {}"),
        ("b.rs", "use crate::a::inner; pub struct B;"),
    ]);
    assert_eq!(found, [["crate::a::inner", "crate::b"]]);
}

#[test]
fn tests_comments_strings_and_inline_modules_make_no_circle() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "//! See [`crate::b`].\npub struct A; #[cfg(test)] mod tests { use crate::b::B; } mod c { use super::A; }",
        ),
        (
            "b.rs",
            "use crate::a::A; pub struct B(A); pub const C: &str = \"crate::b\"; #[cfg(test)] use crate::c::D;",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn paths_inside_macros_and_functions_count() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub fn f() { println!(\"{}\", crate::b::N) }"),
        (
            "b.rs",
            "pub const N: u8 = 1; pub fn g() { use crate::a::f; f() }",
        ),
    ]);
    assert_eq!(found, [["crate::a", "crate::b"]]);
}

#[test]
fn files_of_named_paths_are_found() {
    let graph = graph_of(&[
        ("lib.rs", "mod a; #[path = \"elsewhere.rs\"] mod b;"),
        ("a.rs", "use super::b::B; pub struct A(B);"),
        ("elsewhere.rs", "pub struct B;"),
    ]);
    assert!(graph["crate::a"].contains("crate::b"));
}
