//! `laioncele review`: a page on this machine where people decide on identities and photos.

use std::fs::OpenOptions;

use clap::Args;
use laioncele_core::CoreError;
use laioncele_core::decisions::DECISIONS;
use laioncele_core::error::chain;
use laioncele_report::RunView;
use laioncele_review::{Board, Server};

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::run_view;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele review                                  prints an address for a browser on this machine
  laioncele review --output /data/mini --port 8765

The page shows the identities, those with the least similar photo first. A decision is a line in the
run's decisions.jsonl, with who and when; each can be undone. The next `laioncele run` applies them,
what was struck out in filter-counts and what was merged in merge-names, and makes again what depends
on them, and no more. Only who has the printed address,
which holds a token, is answered. Ctrl-C ends it.";

/// `laioncele review`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Review {
    #[command(flatten)]
    paths: RunPaths,
    /// The port on the loopback device; 0: any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Who decides [default: the user's name]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

impl Review {
    /// Serves the page until the process is ended.
    ///
    /// # Errors
    /// A folder without a run, or one that is reviewed already; a port that is taken.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let run = run_view::open(&self.paths)?;
        for remark in run.view.remarks() {
            output::message(&format!("note: {remark}"));
        }
        let _alone = alone(&run.view)?;
        let user = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|v| std::env::var(v).ok())
        };
        let who = self
            .who
            .or_else(user)
            .unwrap_or_else(|| "somebody".to_owned());
        let board = Board::new(run.view, who)?;
        if board.is_empty() {
            let text = "there is nothing to review: no name has matching photos yet";
            return Err(Failure::new(Exit::Environment, text));
        }
        let environment = |error| Failure::new(Exit::Environment, chain(&error));
        let server = Server::listen(self.port).map_err(environment)?;
        output::message(&format!(
            "{} to review; Ctrl-C ends",
            count(board.len(), "name")
        ));
        output::data(&server.url())?;
        server.serve(board);
        Ok(())
    }
}

/// Sees to it that nobody else decides at the same time: lines are numbered.
fn alone(view: &RunView) -> Result<std::fs::File, Failure> {
    let path = view.store.local_path(&format!("{DECISIONS}.lock"));
    let mut options = OpenOptions::new();
    let opened = options.create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|e| CoreError::from_io(&path, e))?;
    file.try_lock().map_err(|_| {
        let text = format!("{}: somebody reviews this run already", path.display());
        Failure::new(Exit::Environment, text)
    })?;
    Ok(file)
}
