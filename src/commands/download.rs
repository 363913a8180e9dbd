//! `laioncele download`: the photos behind a list of urls, in shards.

mod interrupt;
mod lists;
mod options;
mod show;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use laioncele_core::DropReason;
use laioncele_core::error::chain;
use laioncele_download::{
    Engine, ShardError, ShardFolder, ShardSettings, Tally, Totals, download_shards,
};
use laioncele_source::{SourceError, SourceFile, url_files};

use self::lists::Lists;
use self::options::Options;
use self::show::{Show, TICK};
use crate::args::Verbosity;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::words::{count, grouped, size, table};

const EXAMPLES: &str = "\
Examples:
  laioncele download --input urls.txt --output photos
  laioncele download --input 'laion/*.parquet' --output photos --format webdataset --max-side 512
  laioncele download --input list.csv --url-column link --caption-column alt --output photos
  laioncele download --input urls.txt --output photos --retry timeout,http_5xx

Inputs are Parquet, CSV, TSV, JSON lines, or text with a url a line; also compressed by gzip (but
Parquet), and folders and patterns of these. Each list becomes shards of at most --rows-per-shard
rows: 00000.parquet (00000.tar, or the folder 00000) with the photos, 00000_status.parquet with what
became of every row, 00000_stats.json, which is written last. A run that was ended goes on where it
was; a finished shard is not asked for again, unless its failures are of a class that --retry names.";

/// `laioncele download`
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Download {
    #[command(flatten)]
    options: Options,
}

/// Classes of failures that may be gone when somebody asks again.
const PASSING: [DropReason; 5] = [
    DropReason::Timeout,
    DropReason::Connect,
    DropReason::Dns,
    DropReason::Http5xx,
    DropReason::BadResponse,
];

impl Download {
    /// Downloads until all rows have ended.
    ///
    /// # Errors
    /// A list that cannot be read, a folder that cannot be written, an interruption. A url that fails is none.
    pub(crate) fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        let options = &self.options;
        let source = options.source();
        let files = url_files(&options.input)?;
        if files.is_empty() {
            return Err(Failure::new(
                Exit::Environment,
                "--input names no file of a known format (.parquet, .csv, .tsv, .jsonl, .json, .ndjson, .txt)",
            ));
        }
        let mut rows = Some(0);
        for file in &files {
            let list = SourceFile::open_urls(file, &source).map_err(unreadable)?;
            rows = rows.zip(list.rows()).map(|(sum, rows)| sum + rows);
        }
        let folder = ShardFolder::open(&options.output, options.fixed(), &files)
            .map_err(|error| failed(&error))?;
        let engine = Engine::new(options.engine(), None)
            .map_err(|error| Failure::new(Exit::Environment, chain(&error)))?;
        let settings = options.shards();
        let lists = Lists::new(files, source, settings.rows_per_shard);
        let run = Run {
            folder: &folder,
            engine: &engine,
            settings: &settings,
            show: Show::begin(rows, verbosity.quiet),
        };
        let totals = run.run(lists)?;
        match verbosity.quiet {
            true => Ok(()),
            false => self.report(&totals),
        }
    }

    /// What the folder holds now, and how to ask again for what may be there later.
    fn report(&self, totals: &Totals) -> Result<(), Failure> {
        let folder = self.options.output.display();
        let line = format!(
            "{} of {} in {} ({}) in {folder}",
            count(totals.photos() as usize, "photo"),
            count(totals.rows as usize, "row"),
            count(totals.shards as usize, "shard"),
            size(totals.bytes),
        );
        let mut classes: Vec<_> = totals.classes.iter().collect();
        classes.sort_by_key(|(class, number)| (std::cmp::Reverse(**number), class.as_str()));
        let lines = classes
            .iter()
            .map(|(class, number)| vec![(*class).clone(), grouped(**number)]);
        let lines: Vec<_> = lines.collect();
        output::data(&format!("{line}\n{}", table(&lines, &[1])))?;
        if totals.new_shards == 0 && totals.shards > 0 {
            output::message("all shards were done before");
        }
        let passing = PASSING
            .iter()
            .filter(|class| totals.classes.contains_key(class.as_str()));
        let passing: Vec<&str> = passing.map(|class| class.as_str()).collect();
        if !passing.is_empty() {
            output::message(&format!(
                "hint: some failures may pass: the same command with --retry {} asks for these again",
                passing.join(",")
            ));
        }
        Ok(())
    }
}

struct Run<'a> {
    folder: &'a ShardFolder,
    engine: &'a Engine,
    settings: &'a ShardSettings,
    show: Show,
}

impl Run<'_> {
    fn run(mut self, lists: Lists) -> Result<Totals, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let interrupted = Arc::new(AtomicBool::new(false));
        interrupt::watch(stop.clone(), interrupted.clone())
            .map_err(|e| Failure::new(Exit::Environment, format!("signals: {e}")))?;
        let tally = Tally::default();
        let ended = thread::scope(|scope| {
            let work = || {
                download_shards(
                    self.folder,
                    self.engine,
                    self.settings,
                    lists,
                    &tally,
                    &stop,
                )
            };
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                thread::park_timeout(TICK);
                self.show.tick(&tally);
            }
            worker.join()
        });
        self.show.end();
        ended
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(|error| failed(&error))?;
        if interrupted.load(Ordering::Relaxed) {
            let ended = count(tally.ended() as usize, "row");
            return Err(Failure::new(
                Exit::Interrupted,
                format!("interrupted: {ended} ended in this run, and what became of them is kept"),
            )
            .hint("run the same command again: it goes on where it was"));
        }
        Ok(tally.totals())
    }
}

/// A list that is not as it must be, in the words of this command.
fn unreadable(error: SourceError) -> Failure {
    let column = |role: &str| format!("name it with --{role}-column");
    match error {
        SourceError::UnknownColumn {
            path,
            role,
            looked_for,
            found,
            ..
        } => {
            let message = format!(
                "{}: no column of {role}s: looked for {looked_for}; the file has {found}",
                path.display()
            );
            Failure::new(Exit::Usage, message).hint(column(role))
        }
        SourceError::MissingColumn {
            path, column, hint, ..
        } => {
            let message = format!("{}: no column `{column}`{hint}", path.display());
            Failure::new(Exit::Usage, message)
        }
        SourceError::AmbiguousColumn {
            path,
            role,
            first,
            second,
            ..
        } => {
            let message = format!(
                "{}: `{first}` and `{second}` could both be the column of {role}s",
                path.display()
            );
            Failure::new(Exit::Usage, message).hint(column(role))
        }
        error => Failure::new(Exit::Environment, chain(&error)),
    }
}

fn failed(error: &ShardError) -> Failure {
    let failure = |exit| Failure::new(exit, chain(error));
    match error {
        ShardError::OtherSettings { .. } | ShardError::OtherInput { .. } => failure(Exit::Usage).hint(
            "finished shards stay as they are: use the same settings and lists, or another --output",
        ),
        ShardError::NotEmpty { .. } => failure(Exit::Usage),
        ShardError::Damaged { .. } => failure(Exit::Environment).hint(
            "delete the statistics of that shard (NNNNN_stats.json) to have it downloaded again",
        ),
        error if error.is_disk_full() => failure(Exit::Environment).hint(
            "free some room and run the same command again: finished shards are whole, and what has ended of the others is in their journals",
        ),
        _ => failure(Exit::Environment).hint("fix this and run the same command again: it goes on where it was"),
    }
}
