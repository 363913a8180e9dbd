//! Metrics of invented images whose faces are known.

use laioncele_image::facts;

use super::*;
use crate::images::SeedDifference;
use crate::people::Reference;

fn viewed_image(person: &str, group: &str, face: Option<[f32; 2]>) -> ViewedImage {
    ViewedImage {
        system: if person == BASE_MODEL {
            "sdxl"
        } else {
            "laioncele"
        }
        .to_owned(),
        person: person.to_owned(),
        group: group.to_owned(),
        prompt: Some(format!("a prompt of {group}")),
        embedding: vec![1.0, face.map_or(0.0, |f| f[0])],
        prompt_cosine: Some(0.25),
        inception: None,
        face: face.map(|f| f.to_vec()),
        facts: facts(&[]),
        size: [8, 8],
    }
}

const EAST: Option<[f32; 2]> = Some([1.0, 0.0]);
const NORTH: Option<[f32; 2]> = Some([0.0, 1.0]);

fn viewed() -> ViewedImages {
    let mut viewed = ViewedImages::default();
    viewed.images.extend([
        viewed_image("ada", "x", EAST),
        viewed_image("ada", "x", EAST),
        viewed_image("ada", "y", None),
        viewed_image("bea", "x", NORTH),
        viewed_image("bea", "y", NORTH),
        viewed_image(BASE_MODEL, "x", EAST),
        viewed_image(BASE_MODEL, "x", NORTH),
    ]);
    let difference = |group: &str, difference| SeedDifference {
        system: "laioncele".to_owned(),
        group: group.to_owned(),
        difference,
    };
    viewed.seed_differences = vec![difference("x", 0.5), difference("y", 0.25)];
    viewed
}

fn references() -> References {
    let reference = |name: &str, face: Option<[f32; 2]>| {
        let face = face.map(|f| unit(&f));
        let embedding = face.clone();
        (name.to_owned(), Reference { face, embedding })
    };
    [
        reference("ada", EAST),
        reference("bea", EAST),
        reference("cyd", None),
    ]
    .into()
}

fn rules() -> Rules {
    Rules {
        seed: 1,
        resamples: 100,
        against: None,
    }
}

fn find(scores: &[EvaluationScore], system: &str, metric: &str, group: &str) -> Option<(f64, u64)> {
    let mut rows = scores
        .iter()
        .filter(|s| s.system == system && s.metric == metric && s.group == group);
    let row = rows.next();
    assert!(rows.next().is_none(), "{metric} of {group} twice");
    row.map(|s| (s.value, s.count))
}

#[test]
fn scores_of_known_faces() {
    let scores = scores(&viewed(), &references(), &rules());
    let all = |metric| find(&scores, "laioncele", metric, ALL);
    assert_eq!(all("faces_found"), Some((0.8, 5)));
    assert_eq!(all("same_person_mean"), Some((1.0, 2)));
    assert_eq!(all("random_pair_mean"), Some((0.0, 4)));
    assert_eq!(all("same_person_auc"), Some((1.0, 6)));
    assert_eq!(all("id_consistency"), Some((1.0, 4)));
    // Each has one of three others at cosine 1.
    let of_all = all("id_consistency_of_all").expect("a row");
    assert!((of_all.0 - 1.0 / 3.0).abs() < 1e-12 && of_all.1 == 4);
    // Ada is like her reference and like Bea's; Bea is like neither.
    assert_eq!(all("reference_similarity"), Some((0.5, 4)));
    assert_eq!(all("reference_mean"), Some((0.5, 4)));
    assert_eq!(all("random_reference_mean"), Some((0.5, 4)));
    assert_eq!(all("reference_auc"), Some((0.5, 8)));
    assert_eq!(all("seed_pixel_difference"), Some((0.375, 2)));
    assert_eq!(all("people"), Some((3.0, 3)));
    assert_eq!(all("clip_ti"), Some((25.0, 5)));
    assert!(all("frechet_clip").is_some() && all("kernel_clip").is_some());
    let base = |metric| find(&scores, "sdxl", metric, ALL);
    assert_eq!(base("clip_ti"), Some((25.0, 2)));
    assert_eq!(base("id_consistency_of_all"), Some((0.0, 2)));
    assert_eq!((base("id_consistency"), base("frechet_clip")), (None, None));
    // The mean over the groups, each the same.
    assert_eq!(find(&scores, "laioncele", "clip_ti", MEAN), Some((25.0, 5)));
    assert_eq!(find(&scores, "laioncele", "frechet_clip", MEAN), None);
}

#[test]
fn intervals_and_differences_are_of_people() {
    let mut viewed = viewed();
    let mut others: Vec<ViewedImage> = viewed.images[..5].to_vec();
    for (k, image) in others.iter_mut().enumerate() {
        image.system = "other".to_owned();
        image.prompt_cosine = Some(0.125 + k as f64 / 64.0);
    }
    viewed.images.extend(others);
    let scores = scores(&viewed, &references(), &rules());
    let row = |system: &str, metric: &str| {
        let mut rows = scores
            .iter()
            .filter(|s| s.system == system && s.group == ALL);
        rows.find(|s| s.metric == metric).expect(metric).clone()
    };
    let clip = row("other", "clip_ti");
    assert!(clip.low.is_some_and(|low| low < clip.value));
    let difference = row("other", "clip_ti_difference");
    assert_eq!(
        (difference.count, difference.against.as_deref()),
        (5, Some("laioncele"))
    );
    assert!((difference.value - (clip.value - 25.0)).abs() < 1e-9);
    assert!(difference.high.is_some_and(|high| high < 0.0));
    assert_eq!(row("sdxl", "clip_ti").low, None);
    let distance = row("other", "frechet_clip");
    assert_eq!(
        (distance.against.as_deref(), distance.against_count),
        (Some("sdxl"), Some(2))
    );
}

#[test]
fn scores_of_a_group_ignore_other_groups() {
    let of_both = scores(&viewed(), &references(), &rules());
    assert_eq!(
        find(&of_both, "laioncele", "faces_found", "y"),
        Some((0.5, 2))
    );
    assert_eq!(
        find(&of_both, "laioncele", "seed_pixel_difference", "y"),
        Some((0.25, 1))
    );
    for metric in [
        "same_person_auc",
        "id_consistency",
        "frechet_clip",
        "people",
    ] {
        assert_eq!(find(&of_both, "laioncele", metric, "y"), None, "{metric}");
    }
    assert!(of_both.iter().all(|s| s.value.is_finite()));
    let mut only = viewed();
    only.images.retain(|s| s.group == "x");
    let of_one = scores(&only, &references(), &rules());
    let of_x = |scores: &[EvaluationScore]| {
        let rows = scores.iter().filter(|s| s.group == "x").cloned();
        rows.collect::<Vec<_>>()
    };
    assert_eq!(of_x(&of_both), of_x(&of_one));
}

#[test]
fn scores_of_nothing_count_no_people() {
    let scores = scores(&ViewedImages::default(), &References::new(), &rules());
    assert_eq!(find(&scores, "", "people", ALL), Some((0.0, 0)));
    assert_eq!(scores.len(), 1);
}
