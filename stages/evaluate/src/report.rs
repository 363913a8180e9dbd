//! The evaluation for people: the metrics of one system by group, with what must be known to read
//! them.

use std::collections::BTreeSet;

use laioncele_core::table::EvaluationScore;
use serde::Serialize;

use crate::images::{ALL, BASE_MODEL, MEAN, ViewedImages};
use crate::inception;
use crate::number_format::{CLIP_COSINE, FACE_COSINE, NumberFormat, PIXEL_DIFFERENCE};

/// Whose metric a line of the table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Main,
    Base,
    All,
}

/// The lines of the table: title, whose metric, format. Arrows say where better is.
const LINES: [(&str, Whose, &str, NumberFormat); 27] = [
    ("CLIP-TI ↑, base model", Whose::Base, "clip_ti", CLIP_COSINE),
    ("CLIP-TI ↑", Whose::Main, "clip_ti", CLIP_COSINE),
    (
        "CLIP-TI, of other prompts",
        Whose::Main,
        "clip_ti_others",
        CLIP_COSINE,
    ),
    (
        "own prompt is the nearest ↑",
        Whose::Main,
        "prompt_precision",
        NumberFormat::Share,
    ),
    ("CLIP-I ↑", Whose::Main, "clip_i", CLIP_COSINE),
    ("FID ↓", Whose::Main, "fid", NumberFormat::Distance),
    ("KID × 1000 ↓", Whose::Main, "kid", NumberFormat::Kernel),
    (
        "Fréchet distance over CLIP ↓",
        Whose::Main,
        "frechet_clip",
        NumberFormat::Distance,
    ),
    (
        "Kernel distance over CLIP × 1000 ↓",
        Whose::Main,
        "kernel_clip",
        NumberFormat::Kernel,
    ),
    (
        "ID consistency ↑, base model",
        Whose::Base,
        "id_consistency_of_all",
        FACE_COSINE,
    ),
    (
        "ID consistency ↑, of the same person",
        Whose::Main,
        "id_consistency",
        FACE_COSINE,
    ),
    (
        "… of one partner",
        Whose::Main,
        "id_consistency_one_partner",
        FACE_COSINE,
    ),
    (
        "ID consistency ↑, of all images",
        Whose::Main,
        "id_consistency_of_all",
        FACE_COSINE,
    ),
    (
        "… of one partner of all",
        Whose::Main,
        "id_consistency_of_all_one_partner",
        FACE_COSINE,
    ),
    (
        "Reference similarity ↑",
        Whose::Main,
        "reference_similarity",
        FACE_COSINE,
    ),
    (
        "same person, AUC ↑",
        Whose::Main,
        "same_person_auc",
        NumberFormat::Area,
    ),
    (
        "same person, mean",
        Whose::Main,
        "same_person_mean",
        FACE_COSINE,
    ),
    (
        "two people, mean",
        Whose::Main,
        "random_pair_mean",
        FACE_COSINE,
    ),
    (
        "own reference, AUC ↑",
        Whose::Main,
        "reference_auc",
        NumberFormat::Area,
    ),
    (
        "own reference, mean",
        Whose::Main,
        "reference_mean",
        FACE_COSINE,
    ),
    (
        "another's reference, mean",
        Whose::Main,
        "random_reference_mean",
        FACE_COSINE,
    ),
    (
        "pixels between seeds",
        Whose::Main,
        "seed_pixel_difference",
        PIXEL_DIFFERENCE,
    ),
    (
        "faces found, base model",
        Whose::Base,
        "faces_found",
        NumberFormat::Share,
    ),
    (
        "faces found",
        Whose::Main,
        "faces_found",
        NumberFormat::Share,
    ),
    (
        "references with a face",
        Whose::Main,
        "references_found",
        NumberFormat::Share,
    ),
    ("people", Whose::Main, "people", NumberFormat::Whole),
    (
        "judge chose the photos too",
        Whose::All,
        SAME_RECOGNIZER,
        NumberFormat::Whole,
    ),
];

/// The metric that is 1 where the recognizer that judges also verified portraits and photos, else
/// 0.
pub(crate) const SAME_RECOGNIZER: &str = "same_recognizer";
/// The metric whose system is the base model: how many images it has.
const BASE_IMAGES: &str = "base_images";

/// Metrics and what must be known to read them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// All metrics.
    pub scores: Vec<Score>,
    /// Sentences: which networks judged, what is left out and why.
    pub notes: Vec<String>,
}

/// A row of the `evaluation` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// What made the images; empty for what concerns all.
    pub system: String,
    /// The metric.
    pub metric: String,
    /// The prompts' group, `all`, or the `mean` of the groups.
    pub group: String,
    /// Its value.
    pub value: f64,
    /// Lower bound of its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Sample size: images or pairs.
    pub count: u64,
    /// The system that it is a distance or a difference to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// How many images of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_count: Option<u64>,
    /// The digest of the network that it was taken with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl Report {
    /// Calls a system by another name: that of its run, where several are compared.
    pub fn rename(&mut self, system: &str, name: &str) {
        for score in &mut self.scores {
            if score.system == system {
                name.clone_into(&mut score.system);
            }
            if score.against.as_deref() == Some(system) {
                score.against = Some(name.to_owned());
            }
        }
    }

    /// A metric of a system in a group; of differences the first.
    pub(crate) fn find(&self, system: &str, metric: &str, group: &str) -> Option<&Score> {
        let mut scores = self.scores.iter();
        scores.find(|s| s.system == system && s.metric == metric && s.group == group)
    }

    /// A metric of the system that the report is about.
    pub(crate) fn main(&self, metric: &str, group: &str) -> Option<&Score> {
        self.find(self.main_system(), metric, group)
    }

    /// The system that the report is about: ours, or the one whose people are counted, or the first.
    pub(crate) fn main_system(&self) -> &str {
        let systems = self.systems();
        let ours = systems.iter().find(|s| **s == crate::OURS);
        let counted = systems
            .iter()
            .find(|s| self.find(s, "people", ALL).is_some());
        ours.or(counted)
            .or(systems.first())
            .copied()
            .unwrap_or_default()
    }

    /// The base model's name, where it has images.
    pub(crate) fn base(&self) -> Option<&str> {
        let base = self.scores.iter().find(|s| s.metric == BASE_IMAGES);
        base.map(|s| s.system.as_str())
    }

    /// The systems whose images show people, in their order.
    pub(crate) fn systems(&self) -> Vec<&str> {
        let base = self.base().unwrap_or_default();
        let mut systems: Vec<&str> = Vec::new();
        for score in &self.scores {
            let system = score.system.as_str();
            if !system.is_empty() && system != base && !systems.contains(&system) {
                systems.push(system);
            }
        }
        systems
    }

    /// The named groups.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let groups: BTreeSet<&str> = self.scores.iter().map(|s| s.group.as_str()).collect();
        let named = groups.into_iter().filter(|g| *g != ALL && *g != MEAN);
        named.collect()
    }

    /// Header and lines, each with one cell for every column: the metric of the main system, its value
    /// in each group, in all and, where there are several groups, their mean; the interval of all, where
    /// there are any; the sample size. A value has the digits that its sample size supports. Metrics
    /// without any value have no line.
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut groups = self.groups();
        // The only group is all there is.
        match groups.len() {
            1 => groups.clear(),
            0 => {}
            _ => groups.push(MEAN),
        }
        groups.push(ALL);
        let has_intervals = self.scores.iter().any(|s| s.low.is_some());
        let mut header = vec!["metric"];
        header.extend(&groups);
        header.extend(has_intervals.then_some("95 %"));
        header.push("sample size");
        let mut lines = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for (title, whose, metric, format) in LINES {
            let system = match whose {
                Whose::Main => self.main_system(),
                Whose::Base => self.base().unwrap_or("?"),
                Whose::All => "",
            };
            let cells = groups.iter().map(|group| self.find(system, metric, group));
            let cells: Vec<Option<&Score>> = cells.collect();
            if cells.iter().all(Option::is_none) {
                continue;
            }
            let whole = self.find(system, metric, ALL);
            let mut line = vec![title.to_owned()];
            let value =
                |s: Option<&Score>| s.map_or("–".into(), |s| format.write(s.value, s.count));
            line.extend(cells.into_iter().map(value));
            if has_intervals {
                line.push(whole.map_or_else(String::new, |s| interval(s, format)));
            }
            line.push(whole.map_or(String::new(), |s| s.count.to_string()));
            lines.push(line);
        }
        lines
    }

    /// The table and the notes in Markdown.
    pub fn markdown(&self) -> String {
        let lines = self.table();
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let columns = lines.first().map_or(0, Vec::len);
        let rule = format!("|---|{}\n", "---:|".repeat(columns.saturating_sub(1)));
        let mut text = "# Evaluation\n\n".to_owned();
        for (k, line) in lines.iter().enumerate() {
            text.push_str(&row(line));
            if k == 0 {
                text.push_str(&rule);
            }
        }
        text.push('\n');
        self.notes
            .iter()
            .for_each(|note| text.push_str(&format!("- {note}\n")));
        text
    }
}

fn interval(score: &Score, format: NumberFormat) -> String {
    match (score.low, score.high) {
        (Some(low), Some(high)) => format!(
            "{} … {}",
            format.write(low, score.count),
            format.write(high, score.count)
        ),
        _ => String::new(),
    }
}

/// The row that says whether the judge is the filter too.
pub(crate) fn same_recognizer_row(same: bool) -> EvaluationScore {
    fact("", SAME_RECOGNIZER, f64::from(u8::from(same)), 1)
}

/// A row that says what must be known of `count` images or people.
pub(crate) fn fact(system: &str, metric: &str, value: f64, count: usize) -> EvaluationScore {
    EvaluationScore {
        system: system.to_owned(),
        metric: metric.to_owned(),
        group: ALL.to_owned(),
        value,
        low: None,
        high: None,
        count: count as u64,
        against: None,
        against_count: None,
    }
}

/// Rows that say what must be known of the images to compare figures with those of other programs; what is nothing has
/// no row.
///
/// | metric | value |
/// |---|---|
/// | `base_images` | images of the base model; the row's system is its name |
/// | `images_turned`, `images_with_alpha`, `images_jpeg` | images with an EXIF orientation, with transparency, in JPEG |
/// | `image_sizes` | how many different sizes, where there are several |
/// | `prompts_with_exclamation` | prompts with a `!` |
/// | `inception_width` | numbers in Inception's features |
pub(crate) fn fact_rows(viewed: &ViewedImages) -> Vec<EvaluationScore> {
    let images = &viewed.images;
    let total = images.len();
    let count = |of: &dyn Fn(&crate::images::ViewedImage) -> bool| {
        images.iter().filter(|image| of(image)).count()
    };
    let sizes: BTreeSet<[u32; 2]> = images.iter().map(|image| image.size).collect();
    let widths = images
        .iter()
        .filter_map(|i| Some(i.inception.as_ref()?.features.len()));
    let base = images.iter().find(|i| i.person == BASE_MODEL);
    let base = base.map_or("", |image| image.system.as_str());
    let facts = [
        (base, BASE_IMAGES, count(&|i| i.person == BASE_MODEL)),
        ("", "images_turned", count(&|i| i.facts.is_turned)),
        ("", "images_with_alpha", count(&|i| i.facts.has_alpha)),
        ("", "images_jpeg", count(&|i| i.facts.is_jpeg)),
        (
            "",
            "image_sizes",
            if sizes.len() > 1 { sizes.len() } else { 0 },
        ),
        (
            "",
            "prompts_with_exclamation",
            viewed.prompts.keys().filter(|p| p.contains('!')).count(),
        ),
        ("", inception::WIDTH, widths.max().unwrap_or(0)),
    ];
    let some = facts.into_iter().filter(|(_, _, value)| *value > 0);
    some.map(|(system, metric, value)| fact(system, metric, value as f64, total))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn score(system: &str, metric: &str, group: &str, value: f64) -> Score {
        Score {
            system: system.to_owned(),
            metric: metric.to_owned(),
            group: group.to_owned(),
            value,
            count: 7,
            ..Score::default()
        }
    }

    fn report(scores: Vec<Score>) -> Report {
        Report {
            scores,
            notes: vec!["A note.".to_owned()],
        }
    }

    #[test]
    fn markdown_has_a_column_for_each_group() {
        let mut whole = score("x", "clip_ti", ALL, 38.241);
        (whole.low, whole.high) = (Some(30.0), Some(45.0));
        let report = report(vec![
            score("x", "clip_ti", "scene", 43.45),
            whole,
            score("x", "clip_ti", MEAN, 38.3),
            score("x", "faces_found", "style", 0.5),
            score("x", "faces_found", ALL, 0.75),
            score("sdxl", "clip_ti", ALL, 37.0),
            score("sdxl", BASE_IMAGES, ALL, 37.0),
        ]);
        let expected = "# Evaluation\n\n\
            | metric | scene | style | mean | all | 95 % | sample size |\n\
            |---|---:|---:|---:|---:|---:|---:|\n\
            | CLIP-TI ↑, base model | – | – | – | 37.0 |  | 7 |\n\
            | CLIP-TI ↑ | 43.5 | – | 38.3 | 38.2 | 30.0 … 45.0 | 7 |\n\
            | faces found | – | 50 % | – | 75 % |  | 7 |\n\n\
            - A note.\n";
        assert_eq!(report.markdown(), expected);
    }

    #[test]
    fn table_has_no_column_for_a_single_group() {
        let scores = ["prompts", ALL].map(|group| score("x", "same_person_auc", group, 0.95));
        let table = report(scores.into()).table();
        assert_eq!(table[0], ["metric", "all", "sample size"]);
        assert_eq!(table[1], ["same person, AUC ↑", "0.95", "7"]);
    }
}
