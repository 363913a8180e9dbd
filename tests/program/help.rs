//! The help of all commands.

use crate::sandbox::Sandbox;

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
