//! The whole command line, walked: unique names, help for everything, examples that parse. clap's
//! own checks are compiled into debug builds only, and tests run in release.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory, Parser};

use super::Cli;

/// What is wrong with `command` and its subcommands. `command` is built.
fn problems(command: &Command) -> Vec<String> {
    let mut problems = Vec::new();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    if command.get_about().is_none() {
        problems.push(format!("{name}: no description"));
    }
    let help = command.get_after_help().map(ToString::to_string);
    if !help.unwrap_or_default().starts_with("Examples:\n") {
        problems.push(format!("{name}: no examples"));
    }
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().to_string();
        for word in words(arg) {
            names.entry(word).or_default().push(id.clone());
        }
        if arg.get_help().is_none_or(|h| h.to_string().is_empty()) && !arg.is_hide_set() {
            problems.push(format!("{name}: no help for `{id}`"));
        }
    }
    let repeated = names.into_iter().filter(|(_, ids)| ids.len() > 1);
    problems.extend(repeated.map(|(word, ids)| {
        format!(
            "{name}: {word} is {} arguments: {}",
            ids.len(),
            ids.join(", ")
        )
    }));
    problems.extend(subcommands(command).flat_map(self::problems));
    problems
}

/// Everything that must be unique about an argument: its id, its long and short options and their
/// aliases.
fn words(arg: &Arg) -> Vec<String> {
    let longs = arg.get_long().into_iter().map(str::to_owned);
    let longs = longs.chain(
        arg.get_all_aliases()
            .into_iter()
            .flatten()
            .map(str::to_owned),
    );
    let shorts = arg.get_short().into_iter();
    let shorts = shorts.chain(arg.get_all_short_aliases().into_iter().flatten());
    let longs = longs.map(|long| format!("--{long}"));
    let shorts = shorts.map(|short| format!("-{short}"));
    let id = format!("id {}", arg.get_id());
    longs.chain(shorts).chain([id]).collect()
}

/// The subcommands but for clap's own `help`.
fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| c.get_name() != "help")
}

fn built(mut command: Command) -> Command {
    command.build();
    command
}

#[test]
fn the_command_line_is_consistent() {
    assert_eq!(problems(&built(Cli::command())), Vec::<String>::new());
}

#[test]
fn an_inconsistent_command_line_is_noticed() {
    let command = Command::new("p")
        .about("About")
        .after_help("Examples:\n  p sub")
        .arg(Arg::new("all").long("all").global(true).help("All"))
        .subcommand(
            Command::new("sub")
                .arg(Arg::new("every").long("every").alias("all").help("Every"))
                .arg(Arg::new("a").short('a').help("A"))
                .arg(Arg::new("b").short('b').short_alias('a')),
        );
    let found = problems(&built(command));
    let expected = [
        "p sub: no description",
        "p sub: no examples",
        "p sub: no help for `b`",
        "p sub: --all is 2 arguments: every, all",
        "p sub: -a is 2 arguments: a, b",
    ];
    assert_eq!(found, expected);
}

/// The commands in the examples of `command` and its subcommands.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let continued: Vec<&str> = help.split("\\\n").map(str::trim_start).collect();
    let help = continued.concat();
    let commands = |line: &str| {
        let line = line.strip_prefix("  ")?;
        line.find("laioncele ").map(|at| line[at..].to_owned())
    };
    let examples = help.lines().take_while(|line| !line.is_empty());
    let mut found: Vec<String> = examples.filter_map(commands).collect();
    found.extend(subcommands(command).flat_map(self::examples));
    found
}

/// The words of a shell command, up to a pipe, a redirection or a comment, which follows several
/// blanks.
fn shell_words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in command.split("   ").next().unwrap_or_default().chars() {
        match c {
            '\'' => quoted = !quoted,
            '|' | '>' if !quoted => break,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn all_examples_of_the_help_parse() {
    let examples = examples(&built(Cli::command()));
    assert!(examples.len() > 40, "{examples:#?}");
    for example in &examples {
        let words = shell_words(example);
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{example}\n{words:?}\n{error}");
        }
    }
}

#[test]
fn shell_words_end_at_pipes_and_comments() {
    let words = shell_words("laioncele ner 'two words' --tokens | jq .tokens");
    assert_eq!(words, ["laioncele", "ner", "two words", "--tokens"]);
    let words = shell_words("laioncele plan       what would run, and why");
    assert_eq!(words, ["laioncele", "plan"]);
}
