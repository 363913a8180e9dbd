//! From the rows of the `evaluation` table to a report: what must be known to read it, in sentences.

use std::collections::BTreeMap;

use laioncele_core::Digest;
use laioncele_core::table::EvaluationScore;
use laioncele_inference::person_word::UNSURE_BELOW;

use crate::images::ALL;
use crate::inception;
use crate::report::{Report, SAME_RECOGNIZER, Score};
use crate::settings::StageConfig;
use crate::towers::TextTower;
use crate::words::{GUESSED, UNSURE};

/// A report of a whole `evaluation` table. `digests` are those of the networks, by their labels.
pub(crate) fn report_of_rows(
    rows: Vec<EvaluationScore>,
    config: &StageConfig,
    digests: &BTreeMap<String, Digest>,
) -> Report {
    let networks = Networks::of(config, digests);
    let score = |row: EvaluationScore| Score {
        network: networks.of_metric(&row.metric),
        system: row.system,
        metric: row.metric,
        group: row.group,
        value: row.value,
        low: row.low,
        high: row.high,
        count: row.count,
        against: row.against,
        against_count: row.against_count,
    };
    let mut report = Report {
        scores: rows.into_iter().map(score).collect(),
        notes: Vec::new(),
    };
    report.notes = notes(&report, config);
    report
}

/// The digests of the networks that figures are taken with.
struct Networks {
    clip: Option<String>,
    inception: Option<String>,
    judge: Option<String>,
}

impl Networks {
    /// Those among `digests`, by their labels in task keys.
    fn of(config: &StageConfig, digests: &BTreeMap<String, Digest>) -> Self {
        let find = |label: &str| digests.get(label).map(ToString::to_string);
        Self {
            clip: find(&config.settings.clip.label()),
            inception: find(inception::LABEL),
            judge: find("models.face.recognizer"),
        }
    }

    /// That of a metric; `None` for what no network decides.
    fn of_metric(&self, metric: &str) -> Option<String> {
        let network = match metric {
            "fid" | "kid" => &self.inception,
            "clip_ti" | "clip_ti_others" | "prompt_precision" | "clip_i" | "frechet_clip"
            | "kernel_clip" | "clip_ti_difference" => &self.clip,
            "people"
            | "seed_pixel_difference"
            | SAME_RECOGNIZER
            | "base_images"
            | "prompts_with_exclamation"
            | "image_sizes"
            | GUESSED
            | UNSURE => &None,
            metric if metric.starts_with("image") || metric == inception::WIDTH => &None,
            _ => &self.judge,
        };
        network.clone()
    }
}

/// The notes of a report.
fn notes(report: &Report, config: &StageConfig) -> Vec<String> {
    let mut notes = vec![tower(report, config)];
    notes.extend(negative(report));
    notes.push(distances(report, config));
    notes.extend(counts(report));
    notes.push(judge(report).to_owned());
    notes.push(
        "Images without a face are in no metric of faces; `faces found` says how many have one. Intervals are 95 % of a \
         bootstrap over people."
            .to_owned(),
    );
    notes.extend(words(report));
    notes.extend(files(report));
    notes
}

/// How many people are called what a network guesses.
fn words(report: &Report) -> Option<String> {
    let guessed = report.find("", GUESSED, ALL)?;
    let unsure = report.find("", UNSURE, ALL).map_or(0.0, |s| s.value);
    let unsure = match unsure > 0.0 {
        true => format!(
            " {unsure} of these guesses are below {} %: people should look at them.",
            (100.0 * UNSURE_BELOW).round()
        ),
        false => String::new(),
    };
    Some(format!(
        "{} of {} people are called `man` or `woman` in prompts as a network guesses from their first photo: it is a guess about \
         pictures, not about people.{unsure}",
        guessed.value, guessed.count
    ))
}

fn tower(report: &Report, config: &StageConfig) -> String {
    let clip_ti = |tower: &str| {
        format!(
            "CLIP-TI is 100 × the mean cosine of image and prompt, read by {tower}, never clamped."
        )
    };
    let marked = report.find("", "prompts_with_exclamation", ALL).is_some();
    match (&config.text, report.main("clip_ti", ALL)) {
        (TextTower::Missing(reason), _) => format!("CLIP-TI is left out: {reason}."),
        (_, None) => "CLIP-TI is left out: no image has a prompt.".to_owned(),
        (TextTower::Own(_), _) => clip_ti("the text tower of the image encoder's own folder"),
        (TextTower::Sdxl { .. }, _) if marked => {
            clip_ti("SDXL's second text encoder, its text tower")
                + " Some prompts have a `!`, which SDXL's tokenizer reads as padding: CLIP's own would score them otherwise."
        }
        (TextTower::Sdxl { .. }, _) => clip_ti("SDXL's second text encoder, its text tower"),
    }
}

/// Where torchmetrics would print another number.
fn negative(report: &Report) -> Option<String> {
    let below = |s: &&Score| s.metric == "clip_ti" && s.value < 0.0;
    let score = report.scores.iter().find(below)?;
    Some(format!(
        "A mean CLIP-TI is below zero ({} of `{}`): torchmetrics would print 0.",
        score.group, score.system
    ))
}

fn distances(report: &Report, config: &StageConfig) -> String {
    let of = |metric: &str| report.main(metric, ALL);
    let to = |system: Option<&str>| match system {
        Some(system) if Some(system) == report.base() => {
            format!("the base model's images ({system})")
        }
        Some(system) => format!("those of {system}"),
        None => "those of the base model".to_owned(),
    };
    let clip = match of("frechet_clip") {
        Some(score) => format!(
            "Fréchet and kernel distance over CLIP are taken of its image embeddings against {}: compare them with distances \
             of the same kind and of as many images only, not with an FID.",
            to(score.against.as_deref())
        ),
        None => "Distances are left out: they need two images of people and two of the system that they are taken to."
            .to_owned(),
    };
    let Some(settings) = &config.settings.inception else {
        return format!(
            "{clip} FID and KID are left out: there is no Inception network ([evaluate] inception)."
        );
    };
    let Some(fid) = of("fid") else {
        return clip;
    };
    let width = report
        .find("", inception::WIDTH, ALL)
        .map_or(0.0, |s| s.value);
    let singular = match (fid.count as f64) <= width {
        true => format!(
            " Covariances of {} images in {width} dimensions are singular; the distance is exact all the same, and its bias large.",
            fid.count
        ),
        false => String::new(),
    };
    format!(
        "FID and KID are taken against {}, resized as `{}`. FID has an excess that falls as 1 / images, KID has none; the \
         mean of the groups is what the paper calls All. FID has no interval.{singular} {clip}",
        to(fid.against.as_deref()),
        settings.resize.name()
    )
}

/// Distances between sets of unequal sizes.
fn counts(report: &Report) -> Option<String> {
    let unequal = |s: &&Score| {
        ["fid", "frechet_clip"].contains(&s.metric.as_str())
            && s.against_count.is_some_and(|count| count != s.count)
    };
    let score = report.scores.iter().find(unequal)?;
    Some(format!(
        "Distances marked ≠ are of unequal numbers of images (`{}`: {} against {}): a Fréchet distance of fewer images is larger.",
        score.system,
        score.count,
        score.against_count.unwrap_or_default()
    ))
}

fn judge(report: &Report) -> &'static str {
    match report.find("", SAME_RECOGNIZER, ALL) {
        Some(same) if same.value == 0.0 => {
            "Faces are judged by a recognizer of its own, not by the one that chose the photos, as in the paper."
        }
        _ => {
            "One recognizer both chose the photos and judges the faces, which flatters them; the paper judges with \
             another one ([evaluate] judge)."
        }
    }
}

/// Files of which other programs see other pixels.
fn files(report: &Report) -> Option<String> {
    let told = [
        (
            "images_turned",
            "with an EXIF orientation, which is ignored, as the reference libraries do",
        ),
        ("images_with_alpha", "with transparency, which is left out"),
        (
            "images_jpeg",
            "JPEGs, whose bytes differ a little between decoders",
        ),
    ];
    let of = |(metric, what): (&str, &str)| {
        let count = report.find("", metric, ALL)?.value;
        Some(format!("{count} {what}"))
    };
    let mut told: Vec<String> = told.into_iter().filter_map(of).collect();
    if let Some(sizes) = report.find("", "image_sizes", ALL) {
        told.push(format!("images of {} sizes", sizes.value));
    }
    (!told.is_empty()).then(|| format!("Among the images: {}.", told.join("; ")))
}
