use laioncele_structure::layers::workspace;
use laioncele_structure::modules::{Graph, circles, graph};

/// Circles that ARCHITECTURE.md names as harmless: crate, then its modules.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        "laioncele-image",
        &[
            "crate::avif",
            "crate::decode",
            "crate::jpeg::pixels",
            "crate::structure",
        ],
    ),
    ("laioncele-web", &["crate::failure", "crate::gate"]),
];

#[test]
fn no_modules_know_each_other_in_a_circle() {
    let root = crate::root();
    let (mut found, mut listed) = (Vec::new(), Vec::new());
    for package in workspace(&root).expect("cargo metadata") {
        let source = root.join(&package.folder).join("src");
        for file in ["lib.rs", "main.rs"]
            .map(|f| source.join(f))
            .into_iter()
            .filter(|f| f.exists())
        {
            let graph = graph(&file).expect("a crate that compiles");
            assert!(!graph.is_empty(), "{} has no module", package.name);
            for circle in circles(&graph) {
                listed.push(format!("{}:{}", package.name, arrows(&graph, &circle)));
                found.push((package.name.clone(), circle));
            }
        }
    }
    let expected: Vec<(String, Vec<String>)> = HARMLESS
        .iter()
        .map(|(name, circle)| {
            (
                (*name).to_owned(),
                circle.iter().map(|&m| m.to_owned()).collect(),
            )
        })
        .collect();
    assert!(
        found == expected,
        "circles of modules:\n{}\nnamed as harmless: {expected:?}",
        listed.join("\n")
    );
}

/// Who names whom in a circle, an arrow a line.
fn arrows(graph: &Graph, circle: &[String]) -> String {
    circle
        .iter()
        .flat_map(|from| {
            graph[from]
                .iter()
                .filter(|to| circle.contains(to))
                .map(move |to| format!("\n  {from} → {to}"))
        })
        .collect()
}
