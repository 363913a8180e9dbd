//! Dockerfile, apptainer.def and the wheel's files: they cannot be built in every place where the tests run, so at least what they name must be there.

use std::fs;

use crate::root;

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).expect(file)
}

fn is_there(file: &str, path: &str) {
    assert!(
        root().join(path).exists(),
        "{file} names {path}, which is not there"
    );
}

/// Folders at the top that hold members of the workspace, and what the root crate needs.
fn needed() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members = "));
    let members = members.expect("members").split('"').skip(1).step_by(2);
    let top = |member: &str| member.split('/').next().unwrap_or_default().to_owned();
    let mut needed: Vec<String> = members.map(top).collect();
    needed.extend(["Cargo.toml", "Cargo.lock", "src", "manifests", "benches"].map(str::to_owned));
    needed.sort();
    needed.dedup();
    needed
}

#[test]
fn the_dockerfile_copies_what_is_there() {
    let dockerfile = read("Dockerfile");
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let mut copied = 0;
    for copy in copies.filter(|copy| !copy.starts_with("--from=")) {
        let paths: Vec<&str> = copy.split_whitespace().collect();
        for path in &paths[..paths.len() - 1] {
            is_there("Dockerfile", path);
            copied += 1;
        }
    }
    assert!(copied >= 4, "{copied}");
    let stages: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.split_once(" AS ").map(|(_, stage)| stage))
        .collect();
    for from in dockerfile.split("--from=").skip(1) {
        let stage = from.split_whitespace().next().expect("a stage");
        assert!(stages.contains(&stage), "no stage {stage}");
    }
    let ignored = read(".dockerignore");
    for needed in needed() {
        assert!(
            !ignored.lines().any(|line| line == needed),
            "{needed} is ignored"
        );
    }
}

#[test]
fn the_apptainer_definition_copies_what_is_there() {
    let definition = read("apptainer.def");
    let (mut own, mut copied) = (false, Vec::new());
    for line in definition.lines() {
        if !line.starts_with(' ') {
            own = line.trim() == "%files";
        } else if own {
            let path = line.split_whitespace().next().expect("a path");
            is_there("apptainer.def", path);
            copied.push(path.to_owned());
        }
    }
    for needed in needed() {
        assert!(copied.contains(&needed), "{needed} is not copied");
    }
}

#[test]
fn containers_and_wheel_have_the_files_where_the_program_looks_for_them() {
    for file in ["Dockerfile", "apptainer.def"] {
        let text = read(file);
        for place in [
            "/usr/local/bin/laioncele",
            "/usr/local/lib/libonnxruntime.so",
            "/usr/local/share/laioncele/manifests",
        ] {
            assert!(text.contains(place), "{file}: {place}");
        }
        let minimum = read("Cargo.toml");
        let minimum = minimum
            .split("rust-version = \"")
            .nth(1)
            .expect("a version");
        let minimum = minimum.split('"').next().expect("its end");
        assert!(
            text.contains(&format!("rust:{minimum}-")),
            "{file}: Rust {minimum}"
        );
    }
    let wheel = read("tools/wheel.sh");
    let copied = wheel.lines().find_map(|line| line.strip_prefix("cp -R "));
    let copied: Vec<&str> = copied.expect("cp -R").split_whitespace().collect();
    for path in &copied[..copied.len() - 1] {
        is_there("tools/wheel.sh", path);
    }
    let data = read("pyproject.toml");
    let data = data.lines().find_map(|line| line.strip_prefix("data = \""));
    let data = data.expect("data").trim_end_matches('"');
    assert!(
        wheel.contains(&format!("{data}/data/share/laioncele")),
        "{data}"
    );
}
