//! The evaluation for people: a table like the paper's Tables 1 and 2, with what must be known to
//! read it.

use std::collections::BTreeSet;

use laioncele_core::table::EvaluationScore;
use serde::Serialize;

use crate::number_format::{CLIP_COSINE, FACE_COSINE, NumberFormat, PIXEL_DIFFERENCE};
use crate::scores::ALL;
use crate::settings::StageConfig;
use crate::towers::TextTower;

/// The lines of the table: title, metric, format. Arrows say where better is.
const LINES: [(&str, &str, NumberFormat); 19] = [
    ("CLIP-TI ↑, base model", "plain_clip_ti", CLIP_COSINE),
    ("CLIP-TI ↑", "clip_ti", CLIP_COSINE),
    (
        "Fréchet distance over CLIP ↓",
        "frechet_clip",
        NumberFormat::Distance,
    ),
    (
        "ID consistency ↑, base model",
        "plain_id_consistency",
        FACE_COSINE,
    ),
    (
        "ID consistency ↑, of the same person",
        "id_consistency",
        FACE_COSINE,
    ),
    (
        "ID consistency ↑, of all images",
        "id_consistency_of_all",
        FACE_COSINE,
    ),
    (
        "Reference similarity ↑",
        "reference_similarity",
        FACE_COSINE,
    ),
    ("same person, AUC ↑", "same_person_auc", NumberFormat::Area),
    ("same person, mean", "same_person_mean", FACE_COSINE),
    ("two people, mean", "random_pair_mean", FACE_COSINE),
    ("own reference, AUC ↑", "reference_auc", NumberFormat::Area),
    ("own reference, mean", "reference_mean", FACE_COSINE),
    (
        "another's reference, mean",
        "random_reference_mean",
        FACE_COSINE,
    ),
    (
        "pixels between seeds",
        "seed_pixel_difference",
        PIXEL_DIFFERENCE,
    ),
    (
        "faces found, base model",
        "plain_faces_found",
        NumberFormat::Share,
    ),
    ("faces found", "faces_found", NumberFormat::Share),
    (
        "references with a face",
        "references_found",
        NumberFormat::Share,
    ),
    ("people", "people", NumberFormat::Whole),
    (
        "judge chose the photos too",
        SAME_RECOGNIZER,
        NumberFormat::Whole,
    ),
];

/// The metric that is 1 where the recognizer that judges also verified portraits and photos, else
/// 0.
pub(crate) const SAME_RECOGNIZER: &str = "same_recognizer";

/// Metrics and what must be known to read them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// All metrics.
    pub scores: Vec<Score>,
    /// Sentences: which networks judged, what is left out and why.
    pub notes: Vec<String>,
}

/// A row of the `evaluation` table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The metric.
    pub metric: String,
    /// The prompts' group, or `all`.
    pub group: String,
    /// Its value.
    pub value: f64,
    /// Sample size: images or pairs.
    pub count: u64,
}

impl Report {
    /// A report of `rows`, with the row that says whether the judge is the filter too.
    pub fn new(
        mut rows: Vec<EvaluationScore>,
        config: &StageConfig,
        same_recognizer: bool,
    ) -> Self {
        rows.push(same_recognizer_row(same_recognizer));
        Self::of_rows(rows, config)
    }

    /// A report of the whole `evaluation` table.
    pub fn of_rows(rows: Vec<EvaluationScore>, config: &StageConfig) -> Self {
        let score = |row: EvaluationScore| {
            let EvaluationScore {
                metric,
                group,
                value,
                count,
            } = row;
            Score {
                metric,
                group,
                value,
                count,
            }
        };
        let scores = rows.into_iter().map(score).collect();
        let mut report = Self {
            scores,
            notes: Vec::new(),
        };
        report.notes = report.notes(config);
        report
    }

    fn find(&self, metric: &str, group: &str) -> Option<&Score> {
        let mut scores = self.scores.iter();
        scores.find(|s| s.metric == metric && s.group == group)
    }

    fn notes(&self, config: &StageConfig) -> Vec<String> {
        let tower = match (&config.text, self.find("clip_ti", ALL)) {
            (TextTower::Missing(reason), _) => format!("CLIP-TI is left out: {reason}."),
            (_, None) => "CLIP-TI is left out: no image has a prompt.".to_owned(),
            (TextTower::Own(_), _) => clip_ti("the text tower of the image encoder's own folder"),
            (TextTower::Sdxl { .. }, _) => clip_ti("SDXL's second text encoder, its text tower"),
        };
        let frechet = match self.find("frechet_clip", ALL) {
            Some(_) => {
                "The Fréchet distance is taken over CLIP's image embeddings against the base model's images: \
                        compare it with distances of the same kind and of as many images only, not with an FID."
            }
            None => {
                "The Fréchet distance is left out: it needs two images of people and two of the base model."
            }
        };
        let judge = match self.find(SAME_RECOGNIZER, ALL) {
            Some(same) if same.value == 0.0 => {
                "Faces are judged by a recognizer of its own, not by the one that chose the photos, as in the paper."
            }
            _ => {
                "One recognizer both chose the photos and judges the faces, which flatters them; the paper judges with \
                  another one ([evaluate] judge)."
            }
        };
        let faceless = "Images without a face are in no metric of faces; `faces found` says how many have one.";
        let fid = "FID is left out: there is no Inception network.";
        [
            tower,
            frechet.into(),
            fid.into(),
            judge.into(),
            faceless.into(),
        ]
        .into()
    }

    /// Header and lines, each with one cell for every column: the metric, its value in each group
    /// and in all, and the sample size of the latter. A value has the digits that its sample size
    /// supports. Metrics without any value have no line.
    pub fn table(&self) -> Vec<Vec<String>> {
        let groups: BTreeSet<&str> = self.scores.iter().map(|s| s.group.as_str()).collect();
        let mut groups: Vec<&str> = groups.into_iter().filter(|g| *g != ALL).collect();
        // The only group is all there is.
        if groups.len() == 1 {
            groups.clear();
        }
        groups.push(ALL);
        let mut header = vec!["metric"];
        header.extend(&groups);
        header.push("sample size");
        let mut lines = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for (title, metric, format) in LINES {
            let cells = groups.iter().map(|group| self.find(metric, group));
            let cells: Vec<Option<&Score>> = cells.collect();
            if cells.iter().all(Option::is_none) {
                continue;
            }
            let over = self
                .find(metric, ALL)
                .map_or(String::new(), |s| s.count.to_string());
            let mut line = vec![title.to_owned()];
            line.extend(
                cells
                    .into_iter()
                    .map(|s| s.map_or("–".to_owned(), |s| format.write(s.value, s.count))),
            );
            line.push(over);
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

/// The row that says whether the judge is the filter too.
pub(crate) fn same_recognizer_row(same: bool) -> EvaluationScore {
    EvaluationScore {
        metric: SAME_RECOGNIZER.to_owned(),
        group: ALL.to_owned(),
        value: f64::from(u8::from(same)),
        count: 1,
    }
}

fn clip_ti(tower: &str) -> String {
    format!(
        "CLIP-TI is 100 × the mean cosine of image and prompt, read by {tower}; the table of scores has it unscaled."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: &str, group: &str, value: f64) -> Score {
        Score {
            metric: metric.to_owned(),
            group: group.to_owned(),
            value,
            count: 7,
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
        let report = report(vec![
            score("clip_ti", "scene", 0.4345),
            score("clip_ti", ALL, 0.38241),
            score("faces_found", "style", 0.5),
            score("faces_found", ALL, 0.75),
        ]);
        let expected = "# Evaluation\n\n\
            | metric | scene | style | all | sample size |\n\
            |---|---:|---:|---:|---:|\n\
            | CLIP-TI ↑ | 43.5 | – | 38.2 | 7 |\n\
            | faces found | – | 50 % | 75 % | 7 |\n\n\
            - A note.\n";
        assert_eq!(report.markdown(), expected);
    }

    #[test]
    fn table_has_no_column_for_a_single_group() {
        let scores = ["prompts", ALL].map(|group| score("same_person_auc", group, 0.95));
        let table = report(scores.into()).table();
        assert_eq!(table[0], ["metric", "all", "sample size"]);
        assert_eq!(table[1], ["same person, AUC ↑", "0.95", "7"]);
    }
}
