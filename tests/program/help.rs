//! The help of all commands.

use crate::sandbox::{Sandbox, stderr, stdout};

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(Sandbox::new().show(&["--help"]));
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(Sandbox::new().show(&["run", "--help"]));
}

#[test]
fn help_of_plan() {
    insta::assert_snapshot!(Sandbox::new().show(&["plan", "--help"]));
}

#[test]
fn help_of_status() {
    insta::assert_snapshot!(Sandbox::new().show(&["status", "--help"]));
}

#[test]
fn help_of_verify() {
    insta::assert_snapshot!(Sandbox::new().show(&["verify", "--help"]));
}

#[test]
fn help_of_worker() {
    insta::assert_snapshot!(Sandbox::new().show(&["worker", "--help"]));
}

#[test]
fn help_of_generate() {
    insta::assert_snapshot!(Sandbox::new().show(&["generate", "--help"]));
}

#[test]
fn help_of_interpolate() {
    insta::assert_snapshot!(Sandbox::new().show(&["interpolate", "--help"]));
}

#[test]
fn help_of_evaluate() {
    insta::assert_snapshot!(Sandbox::new().show(&["evaluate", "--help"]));
}

#[test]
fn help_of_mini() {
    for command in ["build", "serve", "score"] {
        let shown = Sandbox::new().show(&["mini", command, "--help"]);
        insta::assert_snapshot!(format!("help_of_mini_{command}"), shown);
    }
}

#[test]
fn help_of_ner() {
    insta::assert_snapshot!(Sandbox::new().show(&["ner", "--help"]));
}

#[test]
fn help_of_names() {
    insta::assert_snapshot!(Sandbox::new().show(&["names", "--help"]));
    for command in ["normalize", "merge"] {
        let shown = Sandbox::new().show(&["names", command, "--help"]);
        insta::assert_snapshot!(format!("help_of_names_{command}"), shown);
    }
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!(Sandbox::new().show(&["doctor", "--help"]));
}

#[test]
fn help_of_encode_image() {
    insta::assert_snapshot!(Sandbox::new().show(&["encode-image", "--help"]));
}

#[test]
fn help_of_ahash() {
    insta::assert_snapshot!(Sandbox::new().show(&["ahash", "--help"]));
}

#[test]
fn every_command_has_a_manual_page_that_the_ones_above_refer_to() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["man", "pages"]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let page = |name: &str| {
        let path = sandbox.join("pages").join(format!("{name}.1"));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    for name in ["laioncele", "laioncele-run", "laioncele-mini"] {
        let text = page(name).replace('\\', "");
        assert!(text.contains(".TH"), "{name} is no manual page");
        let below = text.lines().filter_map(|line| line.strip_suffix("(1)"));
        let below: Vec<&str> = below
            .filter(|name| name.starts_with("laioncele-"))
            .collect();
        assert_eq!(
            below.is_empty(),
            name == "laioncele-run",
            "{name}: {below:?}"
        );
        below.into_iter().for_each(|name| drop(page(name)));
    }
}

#[test]
fn shells_complete_commands_and_options() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = sandbox.run(&["completions", shell]);
        let script = stdout(&ended);
        for word in ["laioncele", "verify", "dry-run"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    sandbox.write("script", stdout(&sandbox.run(&["completions", "bash"])));
    let complete = "source ./script; COMP_WORDS=(laioncele doc); COMP_CWORD=1; _laioncele laioncele doc laioncele; echo \"${COMPREPLY[@]}\"";
    let bash = std::process::Command::new("bash")
        .args(["-c", complete])
        .current_dir(sandbox.path())
        .output();
    assert_eq!(stdout(&bash.expect("bash")).trim(), "doctor");
}

#[test]
fn help_is_as_narrow_as_the_terminal() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["doctor", "--help"],
        &["mini", "build", "--help"],
    ] {
        let mut command = sandbox.command(arguments);
        let ended = command.env("COLUMNS", "60").output().expect("the program");
        for line in stdout(&ended).lines() {
            // A word that is longer stays whole.
            let words = line.split_whitespace().count();
            assert!(
                line.chars().count() <= 60 || words == 1,
                "{arguments:?}: {line}"
            );
        }
    }
}
