//! `docs/commands.md` is the help of every command; `make docs` writes it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::sandbox::{Sandbox, stdout};

const HEAD: &str = "# Commands

<!-- Written by `make docs` from the program's own help: change that, not this page. -->

Data goes to standard output, messages to standard error. [Exit codes](troubleshooting.md#exit-codes) say which kind of failure it was.
";

#[test]
fn commands_page_is_the_help_of_every_command() {
    let mut page = HEAD.to_owned();
    add_help(&mut page, &Sandbox::new(), &[]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    if std::env::var_os("LAIONCELE_WRITE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/commands.md is not what the help says: make docs"
    );
}

/// Adds a command's help and, below it, that of its own commands.
fn add_help(page: &mut String, sandbox: &Sandbox, command: &[&str]) {
    let shown = sandbox.run(&[command, &["--help"]].concat());
    assert!(
        shown.status.success(),
        "laioncele {} --help",
        command.join(" ")
    );
    let help = stdout(&shown);
    let level = "#".repeat(2 + command.len().saturating_sub(1));
    let title = [&["laioncele"], command].concat().join(" ");
    let _ = write!(
        page,
        "\n{level} `{title}`\n\n```text\n{}\n```\n",
        help.trim_end()
    );
    for inner in commands(&help) {
        add_help(page, sandbox, &[command, &[inner]].concat());
    }
}

/// The commands that a help lists, without `help` itself.
fn commands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let name = line
                .strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))?;
            name.split_whitespace().next()
        });
    names.filter(|name| *name != "help").collect()
}
