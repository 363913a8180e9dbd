//! Help for narrow terminals: clap wraps texts by itself, but neither usages nor the columns of options.

use clap::Command;

use crate::terminal;

/// Terminals that are as wide have room for every usage.
const WIDE: usize = 80;
/// Terminals that are narrower have the text of an option below it.
const BESIDE: usize = 60;
/// Blanks that a usage's further lines begin with, as wide as its heading.
const INDENT: &str = "       ";

/// `command` with help for this terminal.
pub(super) fn fitted(mut command: Command) -> Command {
    match terminal::columns() {
        Some(columns) if columns < WIDE => {
            // Usages name the whole command only once it is built.
            command.build();
            narrow(command, columns)
        }
        _ => command,
    }
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
    let names = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned());
    for name in names.collect::<Vec<_>>() {
        command = command.mut_subcommand(name, |sub| narrow(sub, columns));
    }
    command
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
    fn a_usage_is_wrapped_at_blanks() {
        let usage = "laioncele faces compare [OPTIONS] <A> <B>";
        let lines = wrapped(usage, 25);
        assert_eq!(lines, "laioncele faces compare\n       [OPTIONS] <A> <B>");
        assert_eq!(wrapped("a-long-word b", 3), "a-long-word\n       b");
    }
}
