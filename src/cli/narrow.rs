//! Help as wide as the terminal: clap wraps texts by itself, but neither usages nor the columns of options, and it keeps line ends of the source.

use clap::Command;

use crate::terminal;

/// Terminals that are as wide have room for every usage.
const WIDE: usize = 80;
/// Terminals that are narrower have the text of an option below it.
const BESIDE: usize = 60;
/// Blanks that a usage's further lines begin with, as wide as its heading.
const INDENT: &str = "       ";

/// `command` with help for this terminal.
pub(super) fn fitted(command: Command) -> Command {
    let mut command = flowing(command);
    match terminal::columns() {
        Some(columns) if columns < WIDE => {
            // Usages name the whole command only once it is built.
            command.build();
            narrow(command, columns)
        }
        _ => command,
    }
}

/// With paragraphs after the options that are one line each, for clap to wrap: in the source they have lines of their own.
fn flowing(mut command: Command) -> Command {
    if let Some(text) = command
        .get_after_help()
        .map(|text| joined(&text.to_string()))
    {
        command = command.after_help(text);
    }
    if let Some(text) = command
        .get_after_long_help()
        .map(|text| joined(&text.to_string()))
    {
        command = command.after_long_help(text);
    }
    each(command, flowing)
}

/// Each command below it as `change` makes it.
fn each(mut command: Command, change: impl Fn(Command) -> Command) -> Command {
    let names = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned());
    for name in names.collect::<Vec<_>>() {
        command = command.mut_subcommand(name, &change);
    }
    command
}

/// Lines that go on with a sentence joined to the line before; indented lines, headings and empty lines stay.
fn joined(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
        match lines.last_mut() {
            Some(last) if prose(last) && prose(line) && !last.ends_with(':') => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

fn narrow(mut command: Command, columns: usize) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    if usage.len() + INDENT.len() > columns {
        command = command.override_usage(wrapped(usage, columns - INDENT.len()));
    }
    if columns < BESIDE {
        command = command.next_line_help(true);
    }
    each(command, |sub| narrow(sub, columns))
}

/// Lines of at most `room` columns, but for longer words.
fn wrapped(usage: &str, room: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in usage.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{INDENT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_joined_and_examples_stay() {
        let text = "Examples:\n  laioncele run\n  laioncele plan\n\nA part that is\ngone is made\nagain.\n\nThus.";
        let flowing = "Examples:\n  laioncele run\n  laioncele plan\n\nA part that is gone is made again.\n\nThus.";
        assert_eq!(joined(text), flowing);
    }

    #[test]
    fn a_usage_is_wrapped_at_blanks() {
        let usage = "laioncele faces compare [OPTIONS] <A> <B>";
        let lines = wrapped(usage, 25);
        assert_eq!(lines, "laioncele faces compare\n       [OPTIONS] <A> <B>");
        assert_eq!(wrapped("a-long-word b", 3), "a-long-word\n       b");
    }
}
