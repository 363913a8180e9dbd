//! The relational work, in polars: counting spellings, distinct (name, image) pairs, images per
//! name. Tables come in as the bytes of their Parquet parts and go out as rows: nothing else of
//! polars leaves this module.

use std::collections::HashMap;
use std::io::Cursor;

use laioncele_core::table::Candidate;
use laioncele_core::{CoreError, ImageId, NameId, Part, StageError, Task};
use polars::prelude::*;

use crate::merge::Counted;
use crate::name_status::NameStatus;
use crate::normalize::Spelling;

/// Rows of partial counts after which they are summed up.
const COUNTS_TOGETHER: usize = 16;

fn failed(error: PolarsError) -> StageError {
    CoreError::parquet("merge-names", error).into()
}

/// The `columns` of a part.
fn read(task: &Task, part: &Part, columns: &[&str]) -> Result<DataFrame, StageError> {
    let fail = |e| StageError::from(CoreError::parquet(&part.path, e));
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    ParquetReader::new(Cursor::new(task.read_bytes(part)?))
        .with_columns(Some(columns))
        .finish()
        .map_err(fail)
}

fn numbers(frame: &DataFrame, column: &str) -> PolarsResult<Vec<u64>> {
    Ok(frame
        .column(column)?
        .cast(&DataType::UInt64)?
        .u64()?
        .iter()
        .map(Option::unwrap_or_default)
        .collect())
}

fn texts(frame: &DataFrame, column: &str) -> PolarsResult<Vec<Option<String>>> {
    Ok(frame
        .column(column)?
        .str()?
        .iter()
        .map(|v| v.map(str::to_owned))
        .collect())
}

/// The distinct texts of all mentions with their counts, sorted by text.
pub(crate) fn count_spellings(
    task: &Task,
    parts: &[Part],
) -> Result<Vec<(String, u64)>, StageError> {
    let mut counts: Vec<LazyFrame> = Vec::new();
    for part in parts {
        let frame = read(task, part, &["name"])?
            .lazy()
            .group_by([col("name")])
            .agg([len().cast(DataType::UInt64).alias("mentions")]);
        counts.push(frame.collect().map_err(failed)?.lazy());
        if counts.len() == COUNTS_TOGETHER {
            counts = vec![sum_counts(&counts).map_err(failed)?.lazy()];
        }
    }
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let total = sum_counts(&counts)
        .and_then(|f| f.sort(["name"], SortMultipleOptions::default()))
        .map_err(failed)?;
    let rows = texts(&total, "name").and_then(|names| {
        Ok(names
            .into_iter()
            .flatten()
            .zip(numbers(&total, "mentions")?)
            .collect())
    });
    rows.map_err(failed)
}

fn sum_counts(counts: &[LazyFrame]) -> PolarsResult<DataFrame> {
    concat(counts, UnionArgs::default())?
        .group_by([col("name")])
        .agg([col("mentions").sum()])
        .collect()
}

/// Sums the mentions of equal normalized spellings.
pub(crate) fn count_normalized<'a>(
    found: impl Iterator<Item = (&'a Spelling, u64)>,
) -> Result<Vec<Counted>, StageError> {
    let (mut spellings, mut mentions, mut recased) = (Vec::new(), Vec::new(), Vec::new());
    for (spelling, count) in found {
        spellings.push(spelling.name.as_str());
        mentions.push(count);
        recased.push(if spelling.recased { count } else { 0 });
    }
    let sum = || -> PolarsResult<Vec<Counted>> {
        let frame = df!("spelling" => spellings, "mentions" => mentions, "recased" => recased)?;
        let summed = frame
            .lazy()
            .group_by([col("spelling")])
            .agg([col("mentions").sum(), col("recased").sum()])
            .collect()?;
        let rows = texts(&summed, "spelling")?
            .into_iter()
            .zip(numbers(&summed, "mentions")?)
            .zip(numbers(&summed, "recased")?);
        Ok(rows
            .filter_map(|((spelling, mentions), recased)| {
                Some(Counted {
                    spelling: spelling?,
                    mentions,
                    recased,
                })
            })
            .collect())
    };
    sum().map_err(failed)
}

/// The decisions on all spellings as a frame: `name` as written, `name_id` (null where it is no
/// name), `status`.
pub(crate) struct DecisionFrame(DataFrame);

impl DecisionFrame {
    /// From each spelling as written, the name it is filed under, and that name's status.
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn new<'a>(
        decisions: impl Iterator<Item = (&'a str, Option<NameId>, NameStatus)>,
    ) -> Result<Self, StageError> {
        let (mut written, mut ids, mut statuses) = (Vec::new(), Vec::new(), Vec::new());
        for (spelling, name, status) in decisions {
            written.push(spelling);
            ids.push(name.map(|id| id.0));
            statuses.push(status as u32);
        }
        df!("name" => written, "name_id" => ids, "status" => statuses)
            .map(Self)
            .map_err(failed)
    }

    /// The mentions of `part`, the `number`th, each with its name and status.
    ///
    /// # Errors
    /// A damaged part.
    pub(crate) fn file(
        &self,
        task: &Task,
        part: &Part,
        number: usize,
    ) -> Result<Filed, StageError> {
        let mentions = read(task, part, &["name", "caption_id", "image_id"])?
            .lazy()
            .with_row_index("row", None);
        let filed = mentions
            .left_join(self.0.clone().lazy(), col("name"), col("name"))
            .with_column(lit(number as u64).alias("part"))
            .collect();
        filed.map(Filed).map_err(failed)
    }
}

/// Mentions: `name_id`, `image_id`, `caption_id`, `part` and `row` say which; those of one part
/// also `name` and `status`.
pub(crate) struct Filed(DataFrame);

/// A mention that is not filed under a name that may stay.
pub(crate) struct DroppedMention {
    pub(crate) caption_id: u64,
    pub(crate) name_id: Option<NameId>,
    pub(crate) spelling: String,
    pub(crate) status: NameStatus,
}

impl Filed {
    /// The mentions whose status is not [`NameStatus::Accepted`].
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn dropped(&self) -> Result<Vec<DroppedMention>, StageError> {
        let rows = || -> PolarsResult<Vec<DroppedMention>> {
            let frame = self
                .0
                .clone()
                .lazy()
                .filter(col("status").neq(lit(NameStatus::Accepted as u32)))
                .collect()?;
            let ids: Vec<Option<u64>> = frame.column("name_id")?.u64()?.iter().collect();
            let columns = numbers(&frame, "caption_id")?
                .into_iter()
                .zip(ids)
                .zip(texts(&frame, "name")?)
                .zip(numbers(&frame, "status")?);
            Ok(columns
                .map(|(((caption_id, id), spelling), status)| DroppedMention {
                    caption_id,
                    name_id: id.map(NameId),
                    spelling: spelling.unwrap_or_default(),
                    status: NameStatus::ALL
                        .get(status as usize)
                        .copied()
                        .unwrap_or(NameStatus::NotAName),
                })
                .collect())
        };
        rows().map_err(failed)
    }
}

fn candidate_rows(frame: &DataFrame) -> PolarsResult<Vec<Candidate>> {
    let ids = numbers(frame, "name_id")?
        .into_iter()
        .zip(numbers(frame, "image_id")?);
    let words = texts(frame, "url")?
        .into_iter()
        .zip(texts(frame, "caption")?)
        .zip(texts(frame, "hash")?)
        .zip(texts(frame, "image_at")?);
    Ok(ids
        .zip(words)
        .map(
            |((name_id, image_id), (((url, caption), hash), image_at))| Candidate {
                name_id: NameId(name_id),
                image_id: ImageId(image_id),
                url: url.unwrap_or_default(),
                caption: caption.unwrap_or_default(),
                hash,
                image_at,
            },
        )
        .collect())
}

/// The ids of all mentions that are filed under a name that may stay.
#[derive(Default)]
pub(crate) struct Pairs(Vec<LazyFrame>);

/// What identifies a mention, in the order that decides which of several stays.
const MENTION: [&str; 5] = ["name_id", "image_id", "caption_id", "part", "row"];

impl Pairs {
    /// # Errors
    /// A failure of polars.
    pub(crate) fn add(&mut self, filed: Filed) -> Result<(), StageError> {
        let names = filed
            .0
            .lazy()
            .filter(col("status").eq(lit(NameStatus::Accepted as u32)));
        self.0.push(
            names
                .select(MENTION.map(col))
                .collect()
                .map_err(failed)?
                .lazy(),
        );
        Ok(())
    }

    fn all(&self) -> PolarsResult<LazyFrame> {
        concat(&self.0, UnionArgs::default())
    }

    /// The names with at least `min_images` distinct images.
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn images_by_name(&self, min_images: u64) -> Result<ImageCounts, StageError> {
        if self.0.is_empty() {
            return Ok(ImageCounts::default());
        }
        let count = || -> PolarsResult<HashMap<NameId, u64>> {
            let images = self.all()?.group_by([col("name_id")]).agg([col("image_id")
                .n_unique()
                .cast(DataType::UInt64)
                .alias("images")]);
            let enough = images
                .filter(col("images").gt_eq(lit(min_images)))
                .collect()?;
            Ok(numbers(&enough, "name_id")?
                .into_iter()
                .map(NameId)
                .zip(numbers(&enough, "images")?)
                .collect())
        };
        count().map(ImageCounts).map_err(failed)
    }

    /// All mentions, sorted; the first of each name and image is the one that stays.
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn sorted(&self, images: &ImageCounts) -> Result<SortedMentions, StageError> {
        let sort = || -> PolarsResult<SortedMentions> {
            let mut enough: Vec<_> = images.0.iter().map(|(id, count)| (id.0, *count)).collect();
            enough.sort_unstable();
            let (ids, counts): (Vec<_>, Vec<_>) = enough.into_iter().unzip();
            let enough = df!("name_id" => ids, "images" => counts)?.lazy();
            let differs = |column: &str| col(column).neq_missing(col(column).shift(lit(1)));
            let sorted = self
                .all()?
                .left_join(enough, col("name_id"), col("name_id"))
                .sort(MENTION, SortMultipleOptions::default());
            let marked = sorted
                .with_column(differs("name_id").or(differs("image_id")).alias("first"))
                .collect()?;
            Ok(SortedMentions(marked))
        };
        if self.0.is_empty() {
            Ok(SortedMentions::none())
        } else {
            sort().map_err(failed)
        }
    }
}

/// Distinct images of the names that have enough of them.
#[derive(Default)]
pub(crate) struct ImageCounts(HashMap<NameId, u64>);

impl ImageCounts {
    /// The images of a name; none where it has too few.
    pub(crate) fn of(&self, name: NameId) -> Option<u64> {
        self.0.get(&name).copied()
    }
}

/// All mentions of names: `images` is null where the name has too few, `first` says which mention
/// of an image stays.
pub(crate) struct SortedMentions(DataFrame);

impl SortedMentions {
    fn none() -> Self {
        let mut columns: Vec<Column> = MENTION
            .iter()
            .map(|name| Column::new_empty((*name).into(), &DataType::UInt64))
            .collect();
        columns.push(Column::new_empty("images".into(), &DataType::UInt64));
        columns.push(Column::new_empty("first".into(), &DataType::Boolean));
        Self(DataFrame::new(0, columns).unwrap_or_default())
    }

    fn of(&self, condition: Expr) -> Result<DataFrame, StageError> {
        self.0
            .clone()
            .lazy()
            .filter(condition)
            .collect()
            .map_err(failed)
    }

    /// Caption and name of the mentions of names with too few images.
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn too_few(&self) -> Result<Vec<(u64, NameId)>, StageError> {
        let frame = self.of(col("images").is_null())?;
        let rows = || {
            PolarsResult::Ok(
                numbers(&frame, "caption_id")?
                    .into_iter()
                    .zip(numbers(&frame, "name_id")?.into_iter().map(NameId))
                    .collect(),
            )
        };
        rows().map_err(failed)
    }

    /// Caption, name and image of the mentions that name an image again.
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn repeated(&self) -> Result<Vec<(u64, NameId, ImageId)>, StageError> {
        let frame = self.of(col("images").is_not_null().and(col("first").not()))?;
        let rows = || -> PolarsResult<Vec<(u64, NameId, ImageId)>> {
            let names = numbers(&frame, "caption_id")?
                .into_iter()
                .zip(numbers(&frame, "name_id")?);
            Ok(names
                .zip(numbers(&frame, "image_id")?)
                .map(|((caption, name), image)| (caption, NameId(name), ImageId(image)))
                .collect())
        };
        rows().map_err(failed)
    }

    /// One mention for each name and image: the first by caption id.
    ///
    /// # Errors
    /// A failure of polars.
    pub(crate) fn kept(&self) -> Result<Kept, StageError> {
        self.of(col("images").is_not_null().and(col("first")))
            .map(Kept)
    }
}

/// The mentions that become candidates.
pub(crate) struct Kept(DataFrame);

impl Kept {
    /// How many there are.
    pub(crate) fn rows(&self) -> u64 {
        self.0.height() as u64
    }

    /// Those of `part`, the `number`th, with their texts.
    ///
    /// # Errors
    /// A damaged part.
    pub(crate) fn candidates(
        &self,
        task: &Task,
        part: &Part,
        number: usize,
    ) -> Result<Vec<Candidate>, StageError> {
        let texts_of_part = read(task, part, &["url", "caption", "hash", "image_at"])?
            .lazy()
            .with_row_index("row", None);
        let wanted = self
            .0
            .clone()
            .lazy()
            .filter(col("part").eq(lit(number as u64)));
        let rows = wanted
            .inner_join(texts_of_part, col("row"), col("row"))
            .collect()
            .and_then(|f| candidate_rows(&f));
        rows.map_err(failed)
    }
}
