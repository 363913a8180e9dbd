//! The metrics: from what was measured in the images to the rows of the `evaluation` table.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::KeyHasher;
use laioncele_core::table::EvaluationScore;
use laioncele_face::cosine;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::frechet::frechet_distance;
use crate::images::{BASE_MODEL, ViewedImage, ViewedImages};
use crate::statistics::{Face, MOST_PAIRS, Pairs, auc, mean, random_partners};

/// The group of all images.
pub(crate) const ALL: &str = "all";

/// The reference face of each person, where a photo of theirs shows one: the mean of unit vectors.
pub type References = BTreeMap<String, Option<Vec<f32>>>;

/// The metrics of each group of prompts and of all images. A metric of an empty set (no prompt, no
/// image of the base model, one person only, …) has no row. Images without a face are in no metric
/// of faces; `faces_found` says how many have one.
///
/// | metric | value |
/// |---|---|
/// | `clip_ti`, `plain_clip_ti` | mean cosine of CLIP's embeddings of image and prompt, of people's and the base model's images |
/// | `frechet_clip` | Fréchet distance over CLIP's image embeddings (not of unit length) to the base model's images |
/// | `faces_found`, `plain_faces_found` | share of images with a face |
/// | `id_consistency` | mean cosine of each face to one other of the same person, chosen at random |
/// | `id_consistency_of_all` | the same with the other chosen from all people's images, the appendix's other reading |
/// | `plain_id_consistency` | the same among the base model's images |
/// | `reference_similarity` | mean cosine of each face to its person's reference photo |
/// | `reference_auc`, `reference_mean`, `random_reference_mean` | faces to their own reference against faces to others' references |
/// | `same_person_auc`, `same_person_mean`, `random_pair_mean` | all pairs of one person's faces (different seeds) against pairs of two people's |
/// | `seed_pixel_difference` | mean absolute pixel difference, over the whole range, between seeds of one person and prompt |
/// | `people`, `references_found` | how many people; the share of them whose reference photo shows a face |
pub fn scores(viewed: &ViewedImages, references: &References, seed: u64) -> Vec<EvaluationScore> {
    let groups: BTreeSet<&str> = viewed.images.iter().map(|s| s.group.as_str()).collect();
    let mut scores = Vec::new();
    let named = groups.into_iter().filter(|group| *group != ALL);
    for group in named.chain([ALL]) {
        let mut rows = GroupScores {
            group,
            seed,
            scores: &mut scores,
        };
        let within = |of: &str| group == ALL || of == group;
        let (base, people): (Vec<&ViewedImage>, Vec<&ViewedImage>) = (viewed.images.iter())
            .filter(|image| within(&image.group))
            .partition(|image| image.person == BASE_MODEL);
        rows.base_model(&base);
        rows.people(&people, &base);
        rows.faces(&faces(&people));
        rows.references(&faces(&people), references);
        let differences = viewed.seed_differences.iter().filter(|(of, _)| within(of));
        rows.mean(
            "seed_pixel_difference",
            &differences.map(|(_, d)| *d).collect::<Vec<_>>(),
        );
    }
    scores
}

/// Rows of one group.
struct GroupScores<'a> {
    group: &'a str,
    seed: u64,
    scores: &'a mut Vec<EvaluationScore>,
}

impl GroupScores<'_> {
    fn put(&mut self, metric: &str, value: Option<f64>, count: usize) {
        self.scores.extend(value.map(|value| EvaluationScore {
            metric: metric.to_owned(),
            group: self.group.to_owned(),
            value,
            count: count as u64,
        }));
    }

    fn mean(&mut self, metric: &str, values: &[f32]) {
        self.put(metric, mean(values), values.len());
    }

    /// A stream for one metric of one group, so that no metric depends on which others there are.
    fn chance(&self, metric: &str) -> ChaCha8Rng {
        let seed = KeyHasher::new("evaluate")
            .number("run_seed", self.seed)
            .text("metric", metric)
            .text("group", self.group)
            .finish();
        ChaCha8Rng::seed_from_u64(seed.low_u64())
    }

    fn base_model(&mut self, base: &[&ViewedImage]) {
        self.mean("plain_clip_ti", &prompt_cosines(base));
        self.mean("plain_faces_found", &found(base));
        let partners = random_partners(
            &faces(base),
            false,
            &mut self.chance("plain_id_consistency"),
        );
        self.mean("plain_id_consistency", &partners);
    }

    fn people(&mut self, people: &[&ViewedImage], base: &[&ViewedImage]) {
        self.mean("clip_ti", &prompt_cosines(people));
        let distance = frechet_distance(&embeddings(people), &embeddings(base));
        self.put("frechet_clip", distance, people.len());
        self.mean("faces_found", &found(people));
    }

    fn faces(&mut self, faces: &[Face<'_>]) {
        let partners = random_partners(faces, true, &mut self.chance("id_consistency"));
        self.mean("id_consistency", &partners);
        let partners = random_partners(faces, false, &mut self.chance("id_consistency_of_all"));
        self.mean("id_consistency_of_all", &partners);
        let pairs = Pairs::of(faces, MOST_PAIRS, &mut self.chance("random_pairs"));
        let count = pairs.same.len() + pairs.different.len();
        self.put("same_person_auc", auc(&pairs.same, &pairs.different), count);
        self.mean("same_person_mean", &pairs.same);
        self.mean("random_pair_mean", &pairs.different);
    }

    fn references(&mut self, faces: &[Face<'_>], references: &References) {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for face in faces {
            for (person, reference) in references {
                let Some(reference) = reference else { continue };
                let list = if person == face.person {
                    &mut own
                } else {
                    &mut others
                };
                list.push(cosine(face.vector, reference));
            }
        }
        self.mean("reference_similarity", &own);
        self.put(
            "reference_auc",
            auc(&own, &others),
            own.len() + others.len(),
        );
        self.mean("reference_mean", &own);
        self.mean("random_reference_mean", &others);
        if self.group == ALL {
            let found: Vec<f32> = references.values().map(|r| share(r.is_some())).collect();
            self.put("people", Some(found.len() as f64), found.len());
            self.mean("references_found", &found);
        }
    }
}

fn faces<'a>(images: &[&'a ViewedImage]) -> Vec<Face<'a>> {
    let face = |image: &&'a ViewedImage| {
        let vector = image.face.as_deref()?;
        Some(Face {
            person: &image.person,
            vector,
        })
    };
    images.iter().filter_map(face).collect()
}

fn prompt_cosines(images: &[&ViewedImage]) -> Vec<f32> {
    images
        .iter()
        .filter_map(|image| image.prompt_cosine)
        .collect()
}

fn found(images: &[&ViewedImage]) -> Vec<f32> {
    images
        .iter()
        .map(|image| share(image.face.is_some()))
        .collect()
}

fn share(yes: bool) -> f32 {
    f32::from(u8::from(yes))
}

fn embeddings<'a>(images: &[&'a ViewedImage]) -> Vec<&'a [f32]> {
    images
        .iter()
        .map(|image| image.embedding.as_slice())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewed_image(person: &str, group: &str, face: Option<[f32; 2]>) -> ViewedImage {
        ViewedImage {
            person: person.to_owned(),
            group: group.to_owned(),
            embedding: vec![1.0, face.map_or(0.0, |f| f[0])],
            prompt_cosine: Some(0.25),
            face: face.map(|f| f.to_vec()),
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
        viewed.seed_differences.push(("x".to_owned(), 0.5));
        viewed.seed_differences.push(("y".to_owned(), 0.25));
        viewed
    }

    fn references() -> References {
        let reference =
            |name: &str, face: Option<[f32; 2]>| (name.to_owned(), face.map(|f| f.to_vec()));
        [
            reference("ada", EAST),
            reference("bea", EAST),
            reference("cyd", None),
        ]
        .into()
    }

    fn find<'a>(scores: &'a [EvaluationScore], metric: &str, group: &str) -> Option<(f64, u64)> {
        let mut rows = scores
            .iter()
            .filter(|s| s.metric == metric && s.group == group);
        let row: Option<&'a EvaluationScore> = rows.next();
        assert!(rows.next().is_none(), "{metric} of {group} twice");
        row.map(|s| (s.value, s.count))
    }

    #[test]
    fn scores_of_known_faces() {
        let scores = scores(&viewed(), &references(), 1);
        let all = |metric| find(&scores, metric, ALL);
        assert_eq!(all("faces_found"), Some((0.8, 5)));
        assert_eq!(all("same_person_mean"), Some((1.0, 2)));
        assert_eq!(all("random_pair_mean"), Some((0.0, 4)));
        assert_eq!(all("same_person_auc"), Some((1.0, 6)));
        assert_eq!(all("id_consistency"), Some((1.0, 4)));
        // Ada is like her reference and like Bea's; Bea is like neither.
        assert_eq!(all("reference_similarity"), Some((0.5, 4)));
        assert_eq!(all("reference_mean"), Some((0.5, 4)));
        assert_eq!(all("random_reference_mean"), Some((0.5, 4)));
        assert_eq!(all("reference_auc"), Some((0.5, 8)));
        assert_eq!(all("seed_pixel_difference"), Some((0.375, 2)));
        assert_eq!(all("people"), Some((3.0, 3)));
        assert_eq!(all("clip_ti"), Some((0.25, 5)));
        assert_eq!(all("plain_clip_ti"), Some((0.25, 2)));
        assert_eq!(all("plain_id_consistency"), Some((0.0, 2)));
        assert!(all("frechet_clip").is_some());
    }

    #[test]
    fn scores_of_a_group_ignore_other_groups() {
        let scores = scores(&viewed(), &references(), 1);
        assert_eq!(find(&scores, "faces_found", "y"), Some((0.5, 2)));
        assert_eq!(find(&scores, "seed_pixel_difference", "y"), Some((0.25, 1)));
        for metric in [
            "same_person_auc",
            "id_consistency",
            "frechet_clip",
            "plain_clip_ti",
            "people",
        ] {
            assert_eq!(find(&scores, metric, "y"), None, "{metric}");
        }
        assert!(scores.iter().all(|s| s.value.is_finite()));
    }

    #[test]
    fn scores_of_nothing_count_no_people() {
        let scores = scores(&ViewedImages::default(), &References::new(), 1);
        assert_eq!(find(&scores, "people", ALL), Some((0.0, 0)));
        assert_eq!(scores.len(), 1);
    }

    #[test]
    fn random_choices_of_a_group_ignore_other_groups() {
        let of_both = scores(&viewed(), &references(), 1);
        let mut only = viewed();
        only.images.retain(|s| s.group == "x");
        let of_one = scores(&only, &references(), 1);
        let of_x = |scores: &[EvaluationScore]| {
            let rows = scores.iter().filter(|s| s.group == "x").cloned();
            rows.collect::<Vec<_>>()
        };
        assert_eq!(of_x(&of_both), of_x(&of_one));
    }
}
