//! `laioncele completions` and `laioncele man`: what shells and `man` read.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use laioncele_core::CoreError;

use crate::failure::Failure;
use crate::output;
use crate::words::count;

const COMPLETIONS: &str = "\
Examples:
  laioncele completions bash > ~/.local/share/bash-completion/completions/laioncele
  laioncele completions zsh > \"${fpath[1]}/_laioncele\"
  laioncele completions fish > ~/.config/fish/completions/laioncele.fish";

const MAN: &str = "\
Examples:
  laioncele man ~/.local/share/man/man1
  man laioncele-run";

/// `laioncele completions`
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// `laioncele man`
#[derive(Args, Debug)]
#[command(after_help = MAN)]
pub(crate) struct Man {
    /// The folder to write a page for each command to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Completions {
    /// Prints the script for `command`.
    ///
    /// # Errors
    /// A full disk behind a redirection.
    pub(crate) fn execute(self, mut command: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "laioncele", &mut script);
        output::data(String::from_utf8_lossy(&script).trim_end())
    }
}

impl Man {
    /// Writes the pages of `command` and its subcommands.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn execute(self, command: Command) -> Result<(), Failure> {
        let io = |e| Failure::from(CoreError::from_io(&self.folder, e));
        fs::create_dir_all(&self.folder).map_err(io)?;
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let mut commands = Vec::new();
        below("laioncele", &command, &mut commands);
        for (name, command) in &commands {
            let mut page = Vec::new();
            let man = clap_mangen::Man::new((*command).clone()).title(name.to_uppercase());
            man.render(&mut page).map_err(io)?;
            fs::write(self.folder.join(format!("{name}.1")), page).map_err(io)?;
        }
        output::data(&format!(
            "{}: {}",
            self.folder.display(),
            count(commands.len(), "page")
        ))
    }
}

/// `command`, whose page is `name`, and all below it, whose pages are called as those of the ones above refer to them.
fn below<'a>(name: &str, command: &'a Command, found: &mut Vec<(String, &'a Command)>) {
    found.push((name.to_owned(), command));
    for sub in command.get_subcommands() {
        below(&format!("{name}-{}", sub.get_name()), sub, found);
    }
}
