//! How many urls were photos, or failed how: the parts of the table `reachability`, added up.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::drops::DropReason;
use crate::error::CoreError;
use crate::part::{self, Part};
use crate::store::Store;
use crate::table::{EmbeddingDims, Reachability};

/// What [`Reachability::by`] says of rows by host.
pub const BY_HOST: &str = "host";
/// What [`Reachability::by`] says of rows by year.
pub const BY_YEAR: &str = "year";

/// How some urls ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Urls that were photos.
    pub photos: u64,
    /// The others, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl Tally {
    /// Counts `urls` more that ended so.
    pub fn add(&mut self, reason: Option<DropReason>, urls: u64) {
        *match reason {
            None => &mut self.photos,
            Some(reason) => self.dropped.entry(reason).or_default(),
        } += urls;
    }

    /// Takes back `urls` that were counted so, as far as they were.
    pub fn remove(&mut self, reason: Option<DropReason>, urls: u64) {
        match reason {
            None => self.photos = self.photos.saturating_sub(urls),
            Some(reason) => {
                let left = self.dropped.remove(&reason).unwrap_or(0);
                let left = left.saturating_sub(urls);
                self.dropped.extend((left > 0).then_some((reason, left)));
            }
        }
    }

    /// Adds what another one counted.
    pub fn add_all(&mut self, other: &Self) {
        self.photos += other.photos;
        for (reason, urls) in &other.dropped {
            self.add(Some(*reason), *urls);
        }
    }

    /// All of them.
    pub fn urls(&self) -> u64 {
        self.photos + self.dropped.values().sum::<u64>()
    }

    /// How many ended how, photos first.
    pub fn counts(&self) -> impl Iterator<Item = (Option<DropReason>, u64)> {
        let photos = (self.photos > 0).then_some((None, self.photos));
        let dropped = self.dropped.iter().map(|(reason, n)| (Some(*reason), *n));
        photos.into_iter().chain(dropped)
    }
}

/// How the urls of a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// All urls.
    pub total: Tally,
    /// By host, most urls first; as many as were asked for.
    pub hosts: Vec<(String, Tally)>,
    /// By the year that the url's path names.
    pub years: BTreeMap<String, Tally>,
}

impl Reached {
    /// Adds up `parts` and keeps the `top` hosts with most urls. Memory holds the hosts of all parts, of which each has
    /// some hundreds.
    ///
    /// # Errors
    /// Damaged parts.
    pub fn read<'a>(
        store: &Store,
        dims: &EmbeddingDims,
        parts: impl Iterator<Item = &'a Part>,
        top: usize,
    ) -> Result<Self, CoreError> {
        let (mut reached, mut hosts) = (Self::default(), HashMap::<String, Tally>::new());
        for part in parts {
            for row in part::read_rows::<Reachability>(store, part, dims)? {
                let tally = match row.by.as_str() {
                    BY_HOST => {
                        reached.total.add(row.reason, row.urls);
                        hosts.entry(row.value).or_default()
                    }
                    _ => reached.years.entry(row.value).or_default(),
                };
                tally.add(row.reason, row.urls);
            }
        }
        reached.hosts = hosts.into_iter().collect();
        reached
            .hosts
            .sort_by(|(a, x), (b, y)| (y.urls(), a).cmp(&(x.urls(), b)));
        reached.hosts.truncate(top);
        Ok(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_can_be_taken_back() {
        let mut tally = Tally::default();
        tally.add(None, 3);
        tally.add(Some(DropReason::Dns), 2);
        assert_eq!(tally.urls(), 5);
        tally.remove(Some(DropReason::Dns), 2);
        tally.remove(None, 1);
        assert_eq!(tally.counts().collect::<Vec<_>>(), [(None, 2)]);
    }
}
