//! The evaluation for people: a table like the paper's Tables 1 and 2, with what must be known to read it.

use std::collections::BTreeSet;

use laioncele_core::table::EvaluationScore;
use serde::Serialize;

use crate::scores::ALL;
use crate::settings::Plan;
use crate::towers::TextTower;

/// How a figure is written.
#[derive(Clone, Copy)]
enum Form {
    /// With this many decimals.
    Number(usize),
    /// A cosine as CLIP scores are published, times 100.
    Hundredfold,
    /// A share of one.
    Percent,
}

/// The lines of the table: title, metric, form. Arrows say where better is.
const LINES: [(&str, &str, Form); 19] = [
    ("CLIP-TI ↑, plain model", "plain_clip_ti", Form::Hundredfold),
    ("CLIP-TI ↑", "clip_ti", Form::Hundredfold),
    (
        "Fréchet distance over CLIP ↓",
        "frechet_clip",
        Form::Number(2),
    ),
    (
        "ID consistency ↑, plain model",
        "plain_id_consistency",
        Form::Number(4),
    ),
    (
        "ID consistency ↑, of the same person",
        "id_consistency",
        Form::Number(4),
    ),
    (
        "ID consistency ↑, of all pictures",
        "id_consistency_of_all",
        Form::Number(4),
    ),
    (
        "Reference similarity ↑",
        "reference_similarity",
        Form::Number(4),
    ),
    ("same person, AUC ↑", "same_person_auc", Form::Number(4)),
    ("same person, mean", "same_person_mean", Form::Number(4)),
    ("two people, mean", "random_pair_mean", Form::Number(4)),
    ("own reference, AUC ↑", "reference_auc", Form::Number(4)),
    ("own reference, mean", "reference_mean", Form::Number(4)),
    (
        "another's reference, mean",
        "random_reference_mean",
        Form::Number(4),
    ),
    (
        "pixels between seeds",
        "seed_pixel_difference",
        Form::Number(4),
    ),
    (
        "faces found, plain model",
        "plain_faces_found",
        Form::Percent,
    ),
    ("faces found", "faces_found", Form::Percent),
    ("references with a face", "references_found", Form::Percent),
    ("people", "people", Form::Number(0)),
    (
        "judge chose the photos too",
        SAME_RECOGNIZER,
        Form::Number(0),
    ),
];

/// The metric that is 1 where the recognizer that judges also verified portraits and photos, else 0.
pub const SAME_RECOGNIZER: &str = "same_recognizer";

/// Figures and what must be known to read them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// All figures.
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
    /// Pictures or pairs that it was taken over.
    pub count: u64,
}

impl Report {
    /// A report of `rows`, with the row that says whether the judge is the filter too.
    pub fn new(mut rows: Vec<EvaluationScore>, plan: &Plan, same_recognizer: bool) -> Self {
        rows.push(same_recognizer_row(same_recognizer));
        Self::of_rows(rows, plan)
    }

    /// A report of the whole `evaluation` table.
    pub fn of_rows(rows: Vec<EvaluationScore>, plan: &Plan) -> Self {
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
        report.notes = report.notes(plan);
        report
    }

    fn find(&self, metric: &str, group: &str) -> Option<&Score> {
        let mut scores = self.scores.iter();
        scores.find(|s| s.metric == metric && s.group == group)
    }

    fn notes(&self, plan: &Plan) -> Vec<String> {
        let tower = match (&plan.text, self.find("clip_ti", ALL)) {
            (TextTower::Missing(reason), _) => format!("CLIP-TI is left out: {reason}."),
            (_, None) => "CLIP-TI is left out: no picture has a prompt.".to_owned(),
            (TextTower::Own(_), _) => clip_ti("the text tower of the image encoder's own folder"),
            (TextTower::Sdxl { .. }, _) => clip_ti("SDXL's second text encoder, its text tower"),
        };
        let frechet = match self.find("frechet_clip", ALL) {
            Some(_) => {
                "The Fréchet distance is taken over CLIP's image embeddings against the plain model's pictures: \
                        compare it with distances of the same kind and of as many pictures only, not with an FID."
            }
            None => {
                "The Fréchet distance is left out: it needs two pictures of people and two of the plain model."
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
        let faceless = "Pictures without a face are in no figure about faces; `faces found` says how many have one.";
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

    /// Header and lines, each with one cell for every column: the figure, its value in each group and in all, and what
    /// the last was taken over. Figures that are nowhere known have no line.
    pub fn table(&self) -> Vec<Vec<String>> {
        let groups: BTreeSet<&str> = self.scores.iter().map(|s| s.group.as_str()).collect();
        let mut groups: Vec<&str> = groups.into_iter().filter(|g| *g != ALL).collect();
        // The only group is all there is.
        if groups.len() == 1 {
            groups.clear();
        }
        groups.push(ALL);
        let mut header = vec!["figure"];
        header.extend(&groups);
        header.push("taken over");
        let mut lines = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for (title, metric, form) in LINES {
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
                    .map(|s| s.map_or("–".to_owned(), |s| form.write(s.value))),
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
pub fn same_recognizer_row(same: bool) -> EvaluationScore {
    EvaluationScore {
        metric: SAME_RECOGNIZER.to_owned(),
        group: ALL.to_owned(),
        value: f64::from(u8::from(same)),
        count: 1,
    }
}

fn clip_ti(tower: &str) -> String {
    format!(
        "CLIP-TI is 100 × the mean cosine of picture and prompt, read by {tower}; the table of scores has it unscaled."
    )
}

impl Form {
    fn write(self, value: f64) -> String {
        match self {
            Self::Number(decimals) => format!("{value:.decimals$}"),
            Self::Hundredfold => format!("{:.2}", value * 100.0),
            Self::Percent => format!("{:.1} %", value * 100.0),
        }
    }
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
    fn groups_are_columns_and_unknown_figures_have_no_line() {
        let report = report(vec![
            score("clip_ti", "scene", 0.4345),
            score("clip_ti", ALL, 0.38241),
            score("faces_found", "style", 0.5),
            score("faces_found", ALL, 0.75),
        ]);
        let expected = "# Evaluation\n\n\
            | figure | scene | style | all | taken over |\n\
            |---|---:|---:|---:|---:|\n\
            | CLIP-TI ↑ | 43.45 | – | 38.24 | 7 |\n\
            | faces found | – | 50.0 % | 75.0 % | 7 |\n\n\
            - A note.\n";
        assert_eq!(report.markdown(), expected);
    }

    #[test]
    fn a_single_group_has_no_column_of_its_own() {
        let scores = ["prompts", ALL].map(|group| score("same_person_auc", group, 0.95));
        let table = report(scores.into()).table();
        assert_eq!(table[0], ["figure", "all", "taken over"]);
        assert_eq!(table[1], ["same person, AUC ↑", "0.9500", "7"]);
    }
}
