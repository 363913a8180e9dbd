//! What a person sees while photos come in: a line on a terminal, a line now and then elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use laioncele_download::Tally;

use crate::bar::{self, Part};
use crate::words::{count, duration, grouped, size};
use crate::{output, terminal};

/// Time between two looks at the tally.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Classes of failures that are named.
const CLASSES: usize = 4;

/// Shows how far a download has come.
pub(super) struct Show {
    /// Rows of all lists, where that is known.
    rows: Option<u64>,
    started: Instant,
    last_line: Instant,
    kind: Kind,
}

/// What the bar is called.
const NAME: &str = "download";

enum Kind {
    Quiet,
    Bar,
    Lines,
}

impl Show {
    /// A download of `rows` rows that begins now.
    pub(super) fn begin(rows: Option<u64>, quiet: bool) -> Self {
        let kind = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Kind::Quiet,
            (false, true) => Kind::Bar,
            (false, false) => Kind::Lines,
        };
        if matches!(kind, Kind::Bar) {
            terminal::show_bar(NAME, bar::bar());
        }
        let now = Instant::now();
        Self {
            rows,
            started: now,
            last_line: now,
            kind,
        }
    }

    /// Shows where `tally` is now. Called every [`TICK`].
    pub(super) fn tick(&mut self, tally: &Tally) {
        match self.kind {
            Kind::Quiet => {}
            Kind::Lines if self.last_line.elapsed() < LINE_INTERVAL => {}
            Kind::Lines => {
                self.last_line = Instant::now();
                output::message(&format!("download: {}", bar::join(&self.parts(tally))));
            }
            Kind::Bar => {
                if let Some(bar) = terminal::bar(NAME) {
                    let done = (tally.before() + tally.ended()) as f64;
                    let share = self.rows.map(|rows| done / rows.max(1) as f64);
                    bar.set_message(bar::line(NAME, share, self.parts(tally)));
                }
            }
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        terminal::clear_bar(NAME);
    }

    fn parts(&self, tally: &Tally) -> Vec<Part> {
        let far = Far {
            rows: self.rows,
            before: tally.before(),
            ended: tally.ended(),
            photos: tally.photos(),
            bytes: tally.bytes(),
            classes: tally.classes(),
        };
        far.parts(self.started.elapsed())
    }
}

/// How far a download has come.
struct Far {
    rows: Option<u64>,
    before: u64,
    ended: u64,
    photos: u64,
    bytes: u64,
    classes: BTreeMap<&'static str, u64>,
}

impl Far {
    /// What is said of it: the rows matter most, then the time left and the photos.
    fn parts(&self, elapsed: Duration) -> Vec<Part> {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let done = self.before + self.ended;
        let rows = match self.rows {
            Some(rows) => format!("{} of {}", grouped(done), count(rows as usize, "row")),
            None => count(done as usize, "row"),
        };
        let photos = count(self.photos as usize, "photo");
        let share = 100.0 * self.photos as f64 / self.ended.max(1) as f64;
        let mut parts = vec![
            (0, rows),
            (2, format!("{photos} ({share:.0} %)")),
            (
                3,
                format!(
                    "{}/s",
                    grouped((self.photos as f64 / seconds).round() as u64)
                ),
            ),
            (
                4,
                format!("{}/s", size((self.bytes as f64 / seconds) as u64)),
            ),
        ];
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|(class, number)| (std::cmp::Reverse(**number), **class));
        let named = classes.iter().take(CLASSES);
        parts.extend(named.map(|(class, number)| (5, format!("{class} {}", grouped(**number)))));
        if let Some(left) = self.left(seconds) {
            parts.push((1, format!("{} left", duration(left))));
        }
        parts
    }

    /// The time left at the rate so far; none while too little is done to tell.
    fn left(&self, seconds: f64) -> Option<Duration> {
        let left = self.rows?.checked_sub(self.before + self.ended)?;
        let known = seconds > 1.0 && self.ended > 0 && left > 0;
        let time = left as f64 * seconds / self.ended.max(1) as f64;
        known.then(|| Duration::from_secs_f64(time.min(1e9)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rates_classes_and_time_left() {
        let mut far = Far {
            rows: Some(2000),
            before: 500,
            ended: 500,
            photos: 400,
            bytes: 40_000_000,
            classes: [("timeout", 10), ("http_4xx", 90)].into(),
        };
        assert_eq!(
            bar::join(&far.parts(Duration::from_secs(10))),
            "1,000 of 2,000 rows, 400 photos (80 %), 40/s, 4.00 MB/s, http_4xx 90, timeout 10, 20.0 s left"
        );
        far.rows = None;
        far.classes.clear();
        assert_eq!(
            bar::join(&far.parts(Duration::from_secs(10))),
            "1,000 rows, 400 photos (80 %), 40/s, 4.00 MB/s"
        );
    }
}
