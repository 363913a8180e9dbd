//! How the bucket's urls ended, by host and by year: rows of the table `reachability`.

use std::collections::{BTreeMap, HashMap};

use laioncele_core::reachability::{BY_HOST, BY_YEAR, Tally};
use laioncele_core::table::Reachability as Row;
use laioncele_core::{DropReason, StageError, Task};
use url::Url;

/// Hosts that have rows of their own, at most.
const LISTED: usize = 256;
/// Hosts that are counted apart while counting, at most. Beyond, those with fewest urls so far are counted together.
const COUNTED: usize = 65_536;
/// What stands for the hosts without rows of their own.
const OTHERS: &str = "(other hosts)";
/// What stands for urls without a host.
const NO_HOST: &str = "(no host)";
/// Years that a segment of a path may name.
const YEARS: std::ops::RangeInclusive<u32> = 1995..=2035;

/// Counts urls.
#[derive(Default)]
pub(crate) struct Counts {
    hosts: HashMap<String, Tally>,
    years: BTreeMap<String, Tally>,
}

impl Counts {
    /// What an earlier result of the bucket counted.
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        let mut counts = Self::default();
        for row in rows {
            let tally = match row.by.as_str() {
                BY_HOST => counts.hosts.entry(row.value).or_default(),
                _ => counts.years.entry(row.value).or_default(),
            };
            tally.add(row.reason, row.urls);
        }
        counts
    }

    /// Counts a url that ended so: `None` is a photo.
    pub(crate) fn add(&mut self, url: &str, reason: Option<DropReason>) {
        let host = host(url).unwrap_or_else(|| NO_HOST.to_owned());
        self.hosts.entry(host).or_default().add(reason, 1);
        if let Some(year) = year(url) {
            self.years.entry(year).or_default().add(reason, 1);
        }
        if self.hosts.len() > COUNTED {
            self.merge_all_but(COUNTED / 2);
        }
    }

    /// A url that was counted as `before` has ended as `now`.
    pub(crate) fn change(&mut self, url: &str, before: DropReason, now: Option<DropReason>) {
        let host = host(url).unwrap_or_else(|| NO_HOST.to_owned());
        let listed = if self.hosts.contains_key(&host) {
            host
        } else {
            OTHERS.to_owned()
        };
        let tally = self.hosts.entry(listed).or_default();
        tally.remove(Some(before), 1);
        tally.add(now, 1);
        if let Some(year) = year(url) {
            let tally = self.years.entry(year).or_default();
            tally.remove(Some(before), 1);
            tally.add(now, 1);
        }
    }

    fn merge_all_but(&mut self, kept: usize) {
        let mut others = self.hosts.remove(OTHERS).unwrap_or_default();
        let mut hosts: Vec<(String, Tally)> = self.hosts.drain().collect();
        hosts.sort_by(|(a, x), (b, y)| (y.urls(), a).cmp(&(x.urls(), b)));
        for (_, tally) in hosts.drain(kept.min(hosts.len())..) {
            others.add_all(&tally);
        }
        self.hosts.extend(hosts);
        if others.urls() > 0 {
            self.hosts.insert(OTHERS.to_owned(), others);
        }
    }

    /// The rows: hosts and years in the order of their text.
    pub(crate) fn rows(mut self) -> Vec<Row> {
        self.merge_all_but(LISTED);
        let hosts: BTreeMap<String, Tally> = self.hosts.into_iter().collect();
        let by = |by: &'static str, tallies: BTreeMap<String, Tally>| {
            tallies.into_iter().flat_map(move |(value, tally)| {
                let counts: Vec<_> = tally.counts().collect();
                counts.into_iter().map(move |(reason, urls)| Row {
                    by: by.to_owned(),
                    value: value.clone(),
                    reason,
                    urls,
                })
            })
        };
        by(BY_HOST, hosts).chain(by(BY_YEAR, self.years)).collect()
    }

    /// Writes the rows.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn write(self, task: &mut Task) -> Result<(), StageError> {
        task.write::<Row>(self.rows())
    }
}

/// The host of a url, in lower case.
pub(crate) fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.host_str()
        .filter(|host| !host.is_empty())
        .map(str::to_ascii_lowercase)
}

/// The first segment of the path that is a year, as in `/uploads/2014/05/x.jpg`.
fn year(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let path = rest.split(['?', '#']).next()?;
    let is_year = |segment: &&str| {
        segment.len() == 4
            && segment.bytes().all(|b| b.is_ascii_digit())
            && segment.parse().is_ok_and(|year: u32| YEARS.contains(&year))
    };
    path.split('/').skip(1).find(is_year).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_counted_by_host_and_by_the_year_of_their_path() {
        let mut counts = Counts::default();
        counts.add("http://A.example/uploads/2014/05/x.jpg", None);
        counts.add(
            "http://a.example/2014/2015/y.jpg?v=/1999/",
            Some(DropReason::Dns),
        );
        counts.add("http://b.example:8080/9999/1234.jpg", None);
        counts.add("no url", Some(DropReason::BadUrl));
        let row = |by: &str, value: &str, reason, urls| Row {
            by: by.to_owned(),
            value: value.to_owned(),
            reason,
            urls,
        };
        let expected = [
            row("host", "(no host)", Some(DropReason::BadUrl), 1),
            row("host", "a.example", None, 1),
            row("host", "a.example", Some(DropReason::Dns), 1),
            row("host", "b.example", None, 1),
            row("year", "2014", None, 1),
            row("year", "2014", Some(DropReason::Dns), 1),
        ];
        assert_eq!(counts.rows(), expected);
    }

    #[test]
    fn hosts_with_few_urls_are_counted_together_and_a_retry_changes_them_there() {
        let mut counts = Counts::default();
        let url = |k: usize| format!("http://h{k:04}.example/x.jpg");
        for k in 0..LISTED + 2 {
            counts.add(&url(k), Some(DropReason::Timeout));
        }
        counts.add(&url(LISTED + 1), None);
        let rows = counts.rows();
        let others = |rows: &[Row]| -> Vec<(Option<DropReason>, u64)> {
            let others = rows.iter().filter(|row| row.value == OTHERS);
            others.map(|row| (row.reason, row.urls)).collect()
        };
        assert_eq!(others(&rows), [(Some(DropReason::Timeout), 2)]);
        let mut counts = Counts::of(rows);
        counts.change(&url(LISTED), DropReason::Timeout, None);
        let now = counts.rows();
        let expected = [(None, 1), (Some(DropReason::Timeout), 1)];
        assert_eq!(others(&now), expected);
    }
}
