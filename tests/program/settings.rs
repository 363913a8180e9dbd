//! Settings of the command line, runs that only say what they would do, and narrow terminals.

use std::fs;

use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::test_run::TestRun;

#[test]
fn a_setting_of_the_command_line_is_planned_run_and_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let set = ["--set", "filter_counts.min_images=6"];
    let ledger = || world.alone(&["verify", "--digests"], "output").output();
    let before = stdout(&ledger().expect("the program"));
    let state = |entries: &Value, step: &str| {
        let mut entries = entries.as_array().expect("steps").iter();
        let found = entries.find(|entry| entry["step"] == step);
        found.expect("the step").clone()
    };
    let dry = [&["run", "--dry-run", "--json"][..], &set].concat();
    let dry = TestRun::json(world.alone(&dry, "output"), 0);
    let plan = [&["plan", "--json"][..], &set].concat();
    assert_eq!(TestRun::json(world.alone(&plan, "output"), 0), dry);
    let filter = state(&dry, "filter-counts");
    assert!(filter["to_run"].as_u64() > Some(0), "{filter}");
    let cause = &filter["causes"][0];
    let parts = ["name", "from", "to"].map(|key| cause[key].to_string());
    assert!(
        parts[0].contains("min_images") && parts[1].contains('5') && parts[2].contains('6'),
        "{cause}"
    );
    assert_eq!(state(&dry, "verify-images")["to_run"], 0);
    // Nothing was run or recorded.
    assert_eq!(stdout(&ledger().expect("the program")), before);
    let plain = TestRun::json(world.alone(&["plan", "--json"], "output"), 0);
    assert_eq!(state(&plain, "filter-counts")["to_run"], 0);

    let stages = [&["run", "--stage", "filter-counts"][..], &set].concat();
    let ended = world
        .alone(&stages, "output")
        .output()
        .expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let output = world.join("output").display().to_string();
    assert!(stdout(&ended).contains(&output), "{}", stdout(&ended));
    // The run goes on with it, and does not say that its file was changed.
    let mut again = world.alone(&["run", "--stage", "filter-counts"], "output");
    let again = again.output().expect("the program");
    let text = stderr(&again);
    assert!(text.contains("nothing to do"), "{text}");
    assert!(!text.contains("was changed since"), "{text}");
    let run = fs::read_to_string(world.join("output/run.json")).expect("run.json");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    let digest = run["manifest"].as_str().expect("a digest");
    let recorded = world.join(&format!("output/manifests/{digest}.toml"));
    let recorded = fs::read_to_string(recorded).expect("the recorded manifest");
    assert!(recorded.contains("# --set filter_counts.min_images=6\n"));
}

#[test]
fn a_wrong_setting_names_the_nearest() {
    let sandbox = Sandbox::with_manifest(FRAME);
    for (setting, word) in [
        ("filter_counts.min_image=6", "did you mean `min_images`?"),
        ("filter_count.min_images=6", "did you mean `filter_counts`?"),
        ("models.face.detectr=x", "did you mean `detector`?"),
        ("models.fase.detector=x", "did you mean `face`?"),
        ("finetune.rnk=4", "did you mean `rank`?"),
        ("mini_world.wep=x", "did you mean `web`?"),
        ("filter_counts.min_images=many", "[filter_counts]"),
        ("min_images=6", "SECTION.KEY=VALUE"),
    ] {
        for command in ["run", "plan", "doctor"] {
            let arguments = [command, "--manifest", "manifest.toml", "--set", setting];
            let ended = sandbox.run(&arguments);
            let text = stderr(&ended);
            assert_eq!(ended.status.code(), Some(2), "{command} {setting}: {text}");
            assert!(text.contains(word), "{command} {setting}: {text}");
        }
    }
    assert!(!sandbox.join("laioncele-output").exists());
}

#[test]
fn unknown_words_of_the_command_line_have_the_nearest() {
    let sandbox = Sandbox::new();
    for (arguments, word) in [
        (&["statu"][..], "'status'"),
        (&["run", "--stage", "filter-count"], "`filter-counts`"),
        (
            &["run", "--stage", "score-photos"],
            "the stage `verify-images`",
        ),
        (&["retry", "--class", "timeuot"], "`timeout`"),
        (&["download", "--retry", "http_5x"], "`http_5xx`"),
        (&["init", "x", "--preset", "laion-2b"], "'laion-2b-en'"),
    ] {
        let ended = sandbox.run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&ended).contains(word), "{}", stderr(&ended));
    }
}

/// All commands, and those below them.
fn commands(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let below = |command: &[String]| {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = stdout(&sandbox.run(&arguments));
        let list = help.split("Commands:\n").nth(1).unwrap_or_default();
        let list = list.lines().take_while(|line| !line.is_empty());
        let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        let names = names.filter(|name| *name != "help");
        names
            .map(|name| [command, &[name.to_owned()]].concat())
            .collect::<Vec<_>>()
    };
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        all.extend(below(&all[at]));
        at += 1;
    }
    all
}

#[test]
fn help_is_never_wider_than_the_terminal() {
    let sandbox = Sandbox::new();
    let all = commands(&sandbox);
    assert!(all.len() > 35, "{all:?}");
    for columns in ["40", "64", "100"] {
        for command in &all {
            for help in ["-h", "--help"] {
                let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
                arguments.push(help);
                let mut process = sandbox.command(&arguments);
                let ended = process.env("COLUMNS", columns).output();
                let text = stdout(&ended.expect("the program"));
                let most: usize = columns.parse().expect("a number");
                // A path or a call of Python is one word, and stays one.
                for line in text.lines().filter(|line| line.trim().contains(' ')) {
                    assert!(
                        line.chars().count() <= most,
                        "{command:?} at {columns}: {line}"
                    );
                }
            }
        }
    }
}

#[test]
fn tables_fit_a_narrow_terminal_and_a_pipe_has_whole_lines() {
    let world = TestRun::finished(1);
    for arguments in [&["plan"][..], &["status"], &["run", "--dry-run"]] {
        for columns in [40, 60, 80] {
            let mut command = world.alone(arguments, "output");
            let ended = command.env("COLUMNS", columns.to_string()).output();
            let text = stdout(&ended.expect("the program"));
            let table = text.lines().filter(|line| !line.starts_with("manifest "));
            for line in table {
                assert!(
                    line.chars().count() <= columns,
                    "{arguments:?} at {columns}: {line}"
                );
            }
            assert!(text.contains("merge-spellings"), "{text}");
        }
        let mut command = world.alone(arguments, "output");
        let ended = command.env_remove("COLUMNS").output().expect("the program");
        let text = stdout(&ended);
        assert!(text.contains("generate-portraits"), "{text}");
    }
}

#[test]
fn quiet_says_nothing_but_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 1);
    for _ in 0..2 {
        let mut command = world.command(&["run", "-q", "--stage", "..merge-names"], "output");
        let ended = command.output().expect("the program");
        assert!(ended.status.success(), "{}", stderr(&ended));
        assert_eq!((stdout(&ended).as_str(), stderr(&ended).as_str()), ("", ""));
    }
}
