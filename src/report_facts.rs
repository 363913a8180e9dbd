//! What the page of `laioncele report` says besides the tables: thresholds and what they stand for, the evaluation, the reference
//! photos, models with licences.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use laioncele_core::decisions::LABEL;
use laioncele_core::task::time_text;
use laioncele_core::{Digest, Manifest, TableId};
use laioncele_report::{Evaluation, Facts, ModelFact, Person, RunView, StepFact, Threshold};

use crate::error_rates::ErrorRates;

/// The largest reference photo that is read.
const MOST_PHOTO_BYTES: u64 = 32 << 20;
/// Reference photos that are read at most.
const MOST_PEOPLE: usize = 100;

/// All of it. What cannot be told is left out, and where that is worth a word it is remarked.
pub(crate) fn of(view: &RunView, steps: Vec<StepFact>) -> Facts {
    Facts {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made: time_text(SystemTime::now()),
        steps,
        thresholds: thresholds(view),
        evaluation: evaluation(view),
        references: references(&view.manifest),
        unsure_below: laioncele_inference::person_word::UNSURE_BELOW,
        models: models(view),
    }
}

fn thresholds(view: &RunView) -> Vec<Threshold> {
    let manifest = &view.manifest;
    let rates = ErrorRates::of(manifest).unwrap_or_else(|failure| {
        view.remark(format!("No error rates: {}", failure.message));
        None
    });
    let rates = |step: &str| {
        let of = rates.as_ref()?.of_step(manifest, step);
        of.ok().flatten()
    };
    let mut thresholds = Vec::new();
    if let Ok(settings) = laioncele_verify_portraits::Settings::from_manifest(manifest) {
        thresholds.push(Threshold {
            portraits: true,
            key: "same_person".to_owned(),
            value: settings.same_person,
            rates: rates("verify-portraits"),
        });
    }
    if let Ok(settings) = laioncele_verify_images::Settings::from_manifest(manifest) {
        thresholds.push(Threshold {
            portraits: false,
            key: "same_person_photo".to_owned(),
            value: settings.same_person_photo,
            rates: rates("verify-images"),
        });
    }
    thresholds
}

fn evaluation(view: &RunView) -> Option<Evaluation> {
    view.parts(TableId::Evaluation).next()?;
    match laioncele_evaluate::report_of_run(&view.store, &view.manifest, &view.records) {
        Ok(report) => Some(Evaluation {
            lines: report.table(),
            notes: report.notes,
        }),
        Err(_) => Evaluation::of_rows(view),
    }
}

fn references(manifest: &Manifest) -> Vec<Person> {
    let config = laioncele_generate_samples::StageConfig::from_manifest(manifest);
    let people = config.and_then(|config| config.shown(manifest));
    let people = people.unwrap_or_default().into_iter().take(MOST_PEOPLE);
    let read = |person: laioncele_inference::references::Person| {
        let photo = person.photos.first()?;
        let size = fs::metadata(photo).ok()?.len();
        let photo = (size <= MOST_PHOTO_BYTES).then(|| fs::read(photo).ok())??;
        let name = person.name;
        Some(Person { name, photo })
    };
    people.filter_map(read).collect()
}

/// The models that the records name, with what their folders say of their licences.
fn models(view: &RunView) -> Vec<ModelFact> {
    let named = view.records.iter().flat_map(|r| &*r.key_parts.models);
    let named = named.filter(|(label, _)| label.as_str() != LABEL);
    let named: BTreeMap<&String, &Digest> = named.collect();
    let fact = |(label, digest): (&String, &Digest)| {
        let licence = laioncele_inference::licence(&view.manifest, label);
        ModelFact {
            label: label.clone(),
            digest: digest.to_string(),
            non_commercial: non_commercial(&licence),
            licence,
        }
    };
    named.into_iter().map(fact).collect()
}

/// Whether a licence's text keeps commercial use out.
fn non_commercial(licence: &str) -> bool {
    let text = licence.to_lowercase().replace(['-', '_'], " ");
    let says = [
        "non commercial",
        "noncommercial",
        "by nc",
        "research only",
        "research purposes",
        "academic use",
    ];
    says.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_that_keep_commerce_out_are_known() {
        for licence in [
            "CC-BY-NC-4.0",
            "cc_by_nc_sa",
            "InsightFace: non-commercial research purposes only",
        ] {
            assert!(non_commercial(licence), "{licence}");
        }
        for licence in [
            "MIT",
            "Apache-2.0",
            "openrail++",
            "not stated in its folder",
        ] {
            assert!(!non_commercial(licence), "{licence}");
        }
    }
}
