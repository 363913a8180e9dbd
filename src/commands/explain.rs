//! `laioncele explain`: everything that happened to a name, a url, an image or a caption.

use clap::Args;
use laioncele_report::explain::explain;

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::run_view::{self, nothing_known};

const EXAMPLES: &str = "\
Examples:
  laioncele explain 'Mira Castellan'
  laioncele explain https://a.example/1.jpg
  laioncele explain https://a.example/1.jpg --caption 'Sunset over the bay'
  laioncele explain e2767bc04564a909              an id of a name, an image or a caption
  laioncele explain --json 'Mira Castellan' | jq .otherwise

A photo can also be named by the SHA-256 of its bytes. The tree goes from the captions to the shard;
what was dropped says at which setting it would have been kept.";

const ONLY_BY_TEXT: &str = "captions that name nobody, and those that the filters of [extract_names] dropped, are found by \
                            their text only: add --caption TEXT";

/// `laioncele explain`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Explain {
    /// A name or one of its spellings, a url, an id (16 hexadecimal digits, or the number that tables hold), or a SHA-256
    #[arg(value_name = "NAME|URL|ID")]
    query: String,
    /// The text of a caption that the source has beside the url: what became of that caption
    #[arg(long, value_name = "TEXT")]
    caption: Option<String>,
    #[command(flatten)]
    paths: RunPaths,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Prints the tree.
    ///
    /// # Errors
    /// A folder without a run; something of which the run has nothing.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        if self.caption.is_some() && !self.query.contains("://") {
            let text =
                "--caption is the text of a caption that the source has beside a url: name the url";
            return Err(Failure::new(Exit::Usage, text));
        }
        let run = run_view::open(&self.paths)?;
        let explanation = explain(&run.view, &self.query, self.caption.as_deref());
        for remark in run.view.remarks() {
            output::message(&format!("note: {remark}"));
        }
        if self.json {
            output::json(&explanation)?;
        } else if explanation.kind != "unknown" {
            output::data(&explanation.render())?;
        }
        if explanation.kind != "unknown" {
            return Ok(());
        }
        let nearest = explanation.nearest.join(", ");
        let is_url = self.query.contains("://") && self.caption.is_none();
        let hints = match nearest.is_empty() {
            true if is_url => vec![ONLY_BY_TEXT.to_owned()],
            true => Vec::new(),
            false => vec![format!("the nearest spellings are {nearest}")],
        };
        Err(nothing_known(&format!("`{}`", self.query), hints))
    }
}
