//! What an earlier result of the bucket, under other captions or settings, can tell: its photos need not be asked for
//! again, and a url that failed is left alone until somebody retries it.

use std::collections::BTreeMap;

use laioncele_core::ledger::Record;
use laioncele_core::table::{Dropped, Photo};
use laioncele_core::{CoreError, DropReason, ImageId, Row, StageError, TableId, Task};
use laioncele_download::End;

use crate::SPEC;
use crate::candidates::Wanted;
use crate::known::Images;
use crate::outcomes::{Entry, Outcomes};
use crate::settings::Settings;
use crate::write::Turn;

/// Adds what earlier results of this bucket know of its urls.
///
/// # Errors
/// Ledger errors, a full disk. Earlier parts that are gone or damaged tell nothing.
pub(crate) fn take_over(
    task: &Task,
    settings: &Settings,
    wanted: &Wanted,
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    for record in task.earlier()? {
        let missing = wanted.without(outcomes);
        if missing.len() == 0 {
            return Ok(());
        }
        let change = Change::since(&record, settings);
        let _turn = Turn::take(task)?;
        if change.photos_hold {
            ignore_damage(photos(task, settings, &record, &missing, outcomes))?;
        }
        let missing = wanted.without(outcomes);
        ignore_damage(drops(task, &change, &record, &missing, outcomes))?;
    }
    Ok(())
}

/// Earlier parts may have been deleted: their urls are then asked for.
fn ignore_damage(result: Result<(), StageError>) -> Result<(), StageError> {
    match result {
        Err(StageError::Core(
            error @ (CoreError::Missing { .. }
            | CoreError::Parquet { .. }
            | CoreError::Schema { .. }
            | CoreError::Store { .. }),
        )) => {
            tracing::debug!("an earlier result cannot be read: {error}");
            Ok(())
        }
        result => result,
    }
}

fn photos(
    task: &Task,
    settings: &Settings,
    record: &Record,
    missing: &Images,
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    let mut marks = missing.marks();
    for part in record.outputs_of(TableId::Photos) {
        for batch in task.stream::<Photo>(part)? {
            let batch = batch?;
            for photo in Photo::from_batch(&batch, task.embedding_dims(), &part.path)? {
                let image = photo.image_id;
                if marks.first(image) {
                    let (entry, bytes) = judged(photo, settings);
                    outcomes.add(image, &entry, &bytes)?;
                }
            }
        }
    }
    Ok(())
}

/// An earlier photo under the present settings. Its bytes have proven to be sound.
fn judged(photo: Photo, settings: &Settings) -> (Entry, Vec<u8>) {
    let (width, height) = (photo.width, photo.height);
    let bytes = photo.image.bytes;
    let extension = photo.image.path.rsplit_once('.');
    let pixels = u64::from(width) * u64::from(height);
    let dropped = if bytes.len() as u64 > settings.max_bytes {
        Some((DropReason::TooLarge, format!("{} bytes", bytes.len())))
    } else if pixels > settings.max_pixels {
        Some((DropReason::TooLarge, format!("{width}x{height}")))
    } else if width.min(height) < settings.min_side {
        Some((DropReason::TooSmall, format!("{width}x{height}")))
    } else {
        None
    };
    if let Some((reason, detail)) = dropped {
        let detail = Some(detail);
        let entry = Entry::taken_over(End::Dropped { reason, detail });
        return (entry, Vec::new());
    }
    let end = End::Photo {
        sha256: photo.sha256,
        extension: extension.map_or_else(String::new, |(_, e)| e.to_owned()),
        width,
        height,
        original: None,
    };
    (Entry::taken_over(end), bytes)
}

fn drops(
    task: &Task,
    change: &Change,
    record: &Record,
    missing: &Images,
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    let mut marks = missing.marks();
    for part in record.outputs_of(TableId::Dropped) {
        for batch in task.stream::<Dropped>(part)? {
            let batch = batch?;
            for row in Dropped::from_batch(&batch, task.embedding_dims(), &part.path)? {
                let image = ImageId(row.id);
                if change.drop_holds(row.reason) && marks.first(image) {
                    let (reason, detail) = (row.reason, row.detail);
                    let entry = Entry::taken_over(End::Dropped { reason, detail });
                    outcomes.add(image, &entry, &[])?;
                }
            }
        }
    }
    Ok(())
}

/// How an earlier task's settings differ, as far as it matters for what it found.
#[derive(Debug, PartialEq)]
struct Change {
    /// Whether a photo that it got would also be got now.
    photos_hold: bool,
    /// Reasons for which what it dropped would be dropped now.
    drops_hold: Vec<DropReason>,
}

/// Reasons that no setting of the key decides: what the web answered. Whether patience would have helped is what
/// `laioncele retry` is for.
const ANSWERS: [DropReason; 9] = [
    DropReason::BadUrl,
    DropReason::Dns,
    DropReason::Connect,
    DropReason::Tls,
    DropReason::Timeout,
    DropReason::BadResponse,
    DropReason::Http4xx,
    DropReason::Http5xx,
    DropReason::NotAnImage,
];

impl Change {
    fn since(record: &Record, settings: &Settings) -> Self {
        let Some(before) = settings_of(&record.key_parts.settings) else {
            return Self {
                photos_hold: false,
                drops_hold: Vec::new(),
            };
        };
        let newly = |now: bool, before: bool| now && !before;
        let asks_no_more_leave = !newly(settings.honour_opt_out, before.honour_opt_out)
            && !newly(settings.robots_txt, before.robots_txt)
            && !newly(settings.tdm_reservation, before.tdm_reservation);
        let allows = |host: &String| settings.allow_hosts.contains(host);
        let same_wishes = before.honour_opt_out == settings.honour_opt_out
            && before.robots_txt == settings.robots_txt
            && before.tdm_reservation == settings.tdm_reservation;
        let same_caps =
            before.max_bytes == settings.max_bytes && before.max_pixels == settings.max_pixels;
        let same_program = record.key_parts.version == SPEC.version;
        let conditions = [
            (
                DropReason::TooManyRedirects,
                before.max_redirects == settings.max_redirects,
            ),
            (
                DropReason::BlockedAddress,
                before.allow_hosts == settings.allow_hosts,
            ),
            (DropReason::OptOut, same_wishes),
            (DropReason::TooSmall, before.min_side == settings.min_side),
            (DropReason::TooLarge, same_caps),
            (DropReason::Corrupt, true),
        ];
        let mut drops_hold = Vec::new();
        if same_program {
            drops_hold.extend(ANSWERS);
            drops_hold.extend(conditions.iter().filter(|(_, same)| *same).map(|(r, _)| *r));
        }
        Self {
            photos_hold: asks_no_more_leave
                && before.allow_hosts.iter().all(allows)
                && before.max_redirects <= settings.max_redirects,
            drops_hold,
        }
    }

    fn drop_holds(&self, reason: DropReason) -> bool {
        self.drops_hold.contains(&reason)
    }
}

/// The section as it was when a task was keyed.
fn settings_of(flat: &BTreeMap<String, String>) -> Option<Settings> {
    let own = flat.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("download_images.")?;
        Some((name.to_owned(), serde_json::from_str(value).ok()?))
    });
    let section: serde_json::Map<String, serde_json::Value> = own.collect();
    if section.is_empty() {
        return None;
    }
    serde_json::from_value(section.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use laioncele_core::key::KeyParts;
    use laioncele_core::{Digest, Partition, StageName};

    fn record(settings: &Settings, version: u32) -> Record {
        let section = serde_json::to_value(settings).expect("JSON");
        let section = section.as_object().cloned().unwrap_or_default();
        let flat = section.into_iter();
        let flat = flat.map(|(k, v)| (format!("download_images.{k}"), v.to_string()));
        Record {
            format: 3,
            stage: StageName::DownloadImages,
            step: "download-images".to_owned(),
            partition: Partition::Bucket(0),
            key: Digest::of(b""),
            key_parts: KeyParts {
                version,
                settings: flat.collect(),
                ..KeyParts::default()
            },
            attempt: String::new(),
            inputs: Vec::new(),
            lists: Vec::new(),
            outputs: Vec::new(),
            pruned: Vec::new(),
            balances: Vec::new(),
            metrics: BTreeMap::new(),
            started: std::time::SystemTime::UNIX_EPOCH,
            seconds: 0.0,
            host: String::new(),
            program: String::new(),
        }
    }

    fn change(edit: fn(&mut Settings)) -> Change {
        let (before, mut now) = (Settings::default(), Settings::default());
        edit(&mut now);
        Change::since(&record(&before, SPEC.version), &now)
    }

    #[test]
    fn other_captions_and_patience_ask_nothing_again() {
        let change = change(|s| {
            s.timeout_s = 99.0;
            s.user_agent = "other".to_owned();
        });
        assert!(change.photos_hold);
        for reason in [
            DropReason::Http4xx,
            DropReason::TooSmall,
            DropReason::OptOut,
        ] {
            assert!(change.drop_holds(reason), "{reason}");
        }
        for reason in [DropReason::UnknownName, DropReason::HashMismatch] {
            assert!(!change.drop_holds(reason), "{reason}");
        }
    }

    #[test]
    fn only_what_a_setting_decides_is_asked_for_again() {
        let smaller = change(|s| s.min_side = 8);
        assert!(smaller.photos_hold && smaller.drop_holds(DropReason::Dns));
        assert!(!smaller.drop_holds(DropReason::TooSmall));
        let wishes = change(|s| s.robots_txt = true);
        assert!(!wishes.photos_hold && !wishes.drop_holds(DropReason::OptOut));
        assert!(!change(|s| s.max_redirects = 1).photos_hold);
        assert!(change(|s| s.max_redirects = 9).photos_hold);
        let allowed = change(|s| s.allow_hosts = vec!["127.0.0.1".to_owned()]);
        assert!(allowed.photos_hold && !allowed.drop_holds(DropReason::BlockedAddress));
    }

    #[test]
    fn an_earlier_version_keeps_its_photos_only() {
        let settings = Settings::default();
        let change = Change::since(&record(&settings, SPEC.version - 1), &settings);
        assert!(change.photos_hold && change.drops_hold.is_empty());
    }
}
