use laioncele_structure::layers::workspace;
use laioncele_structure::modules::{Graph, circles, graph};

#[test]
fn no_modules_know_each_other_in_a_circle() {
    let root = crate::root();
    let mut found = Vec::new();
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
                found.push(format!("{}:{}", package.name, arrows(&graph, &circle)));
            }
        }
    }
    assert!(
        found.is_empty(),
        "circles of modules:\n{}",
        found.join("\n")
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
