//! The README of the encoder's folder: how to use it, how it was trained, with which models.

use std::collections::BTreeMap;
use std::fmt::Write;

use laioncele_core::numbers::setting_text;
use laioncele_core::{Digest, Manifest};

use crate::{known_weights, licence, recognized};

/// The paper's δ and η, which hold where the manifest names no others.
const PAPER: [(&str, &str, &str); 2] = [("DELTA", "delta", "5"), ("ETA", "eta", "80")];

/// What is known of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The record's metrics, such as `training_people`.
    pub metrics: BTreeMap<String, f64>,
    /// Its settings as JSON, by name.
    pub settings: BTreeMap<String, String>,
    /// The models that made its input, by label.
    pub models: BTreeMap<String, Digest>,
}

/// Appends a line; writing to a String does not fail.
macro_rules! line {
    ($text:expr, $($form:tt)*) => {{ let _ = writeln!($text, $($form)*); }};
}

/// The text: the same facts always give the same text.
pub fn readme(manifest: &Manifest, facts: &Facts) -> String {
    let mut text = "---\nlicense: other\nlicense_name: see-license-md\nlicense_link: LICENSE.md\nlibrary_name: diffusers\ntags:\n- sdxl\n- identity\n- name-embeddings\n- laioncele\n---\n\n".to_owned();
    text.push_str(include_str!("README.head.md"));
    text.push_str(include_str!("README.use.md"));
    let said = manifest.flattened();
    for (name, key, paper) in PAPER {
        let value = said.get(&format!("generate_samples.{key}"));
        let value = value.map_or(paper, String::as_str);
        match value.trim_matches('"') {
            "mean" => line!(text, "\n`{name}` of the run: `mean[\"length\"]`."),
            number => line!(text, "\n`{name}` of the run: {number}."),
        }
    }
    training(&mut text, facts);
    models(&mut text, manifest, facts);
    text
}

fn training(text: &mut String, facts: &Facts) {
    line!(text, "\n## How it was trained\n\n| | |\n|---|---|");
    for (name, value) in &facts.metrics {
        line!(text, "| {} | {value} |", name.replace('_', " "));
    }
    for (name, value) in &facts.settings {
        let value = setting_text(value).replace('|', "\\|").replace('\n', " ");
        line!(text, "| `{name}` | `{value}` |");
    }
    line!(
        text,
        "\n`validation explained` is the share of the error of always predicting the mean name that the encoder takes away, on people\nwhom it was not trained on."
    );
}

fn models(text: &mut String, manifest: &Manifest, facts: &Facts) {
    line!(
        text,
        "\n## Models\n\n| model | BLAKE3 | licence |\n|---|---|---|"
    );
    for (label, digest) in &facts.models {
        let licence = licence(manifest, label);
        line!(text, "| `{label}` | `{digest}` | {licence} |");
    }
    text.push_str(&recognized(manifest));
    text.push_str(&known_weights(manifest));
    line!(
        text,
        "\nThe manifest's text has the BLAKE3 digest `{}`.",
        manifest.digest()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    #[test]
    fn the_readme_has_the_facts_of_the_training() {
        let facts = Facts {
            metrics: BTreeMap::from([("training_people".to_owned(), 96.0)]),
            settings: BTreeMap::from([("train_encoder.steps".to_owned(), "3000".to_owned())]),
            models: BTreeMap::from([("models.image_encoders".to_owned(), Digest::of(b"clip"))]),
        };
        let text = readme(
            &manifest("[generate_samples]\ndelta = 2.0\neta = \"mean\"\n"),
            &facts,
        );
        for line in [
            "| training people | 96 |",
            "| `train_encoder.steps` | `3000` |",
            "`DELTA` of the run: 2.0.",
            "`ETA` of the run: `mean[\"length\"]`.",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(text.contains(&Digest::of(b"clip").to_string()));
        let plain = readme(&manifest(""), &facts);
        assert!(plain.contains("`ETA` of the run: 80."), "{plain}");
    }
}
