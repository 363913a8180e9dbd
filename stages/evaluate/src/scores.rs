//! From what was seen to the rows of the `evaluation` table.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::KeyHasher;
use laioncele_core::table::EvaluationScore;
use laioncele_face::cosine;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::frechet::frechet_distance;
use crate::gallery::{Gallery, PLAIN, Seen};
use crate::statistics::{Face, MOST_PAIRS, Pairs, auc, mean, random_partners};

/// The group of all pictures.
pub const ALL: &str = "all";

/// The reference face of each person, where a photo of theirs shows one: the mean of unit vectors.
pub type References = BTreeMap<String, Option<Vec<f32>>>;

/// The figures of each group of prompts and of all pictures. A figure of nothing (no prompt, no plain picture, one person
/// only, …) has no row. Pictures without a face are in no figure about faces; `faces_found` says how many have one.
///
/// | metric | value |
/// |---|---|
/// | `clip_ti`, `plain_clip_ti` | mean cosine of CLIP's embeddings of picture and prompt, of people's and the plain model's pictures |
/// | `frechet_clip` | Fréchet distance over CLIP's image embeddings (not of unit length) to the plain model's pictures |
/// | `faces_found`, `plain_faces_found` | share of pictures with a face |
/// | `id_consistency` | mean cosine of each face to one other of the same person, drawn at random |
/// | `id_consistency_of_all` | the same with the other drawn from all people's pictures, the appendix's other reading |
/// | `plain_id_consistency` | the same among the plain model's pictures |
/// | `reference_similarity` | mean cosine of each face to its person's reference photo |
/// | `reference_auc`, `reference_mean`, `random_reference_mean` | faces to their own reference against faces to others' references |
/// | `same_person_auc`, `same_person_mean`, `random_pair_mean` | all pairs of one person's faces (different seeds) against pairs of two people's |
/// | `seed_pixel_difference` | mean absolute pixel difference, over the whole range, between seeds of one person and prompt |
/// | `people`, `references_found` | how many people; the share of them whose reference photo shows a face |
pub fn scores(gallery: &Gallery, references: &References, seed: u64) -> Vec<EvaluationScore> {
    let groups: BTreeSet<&str> = gallery.seen.iter().map(|s| s.group.as_str()).collect();
    let mut scores = Vec::new();
    let named = groups.into_iter().filter(|group| *group != ALL);
    for group in named.chain([ALL]) {
        let mut sheet = Sheet {
            group,
            seed,
            scores: &mut scores,
        };
        let within = |of: &str| group == ALL || of == group;
        let (plain, people): (Vec<&Seen>, Vec<&Seen>) = (gallery.seen.iter())
            .filter(|seen| within(&seen.group))
            .partition(|seen| seen.person == PLAIN);
        sheet.plain(&plain);
        sheet.people(&people, &plain);
        sheet.faces(&faces(&people));
        sheet.references(&faces(&people), references);
        let differences = gallery.seed_differences.iter().filter(|(of, _)| within(of));
        sheet.mean(
            "seed_pixel_difference",
            &differences.map(|(_, d)| *d).collect::<Vec<_>>(),
        );
    }
    scores
}

/// Rows of one group.
struct Sheet<'a> {
    group: &'a str,
    seed: u64,
    scores: &'a mut Vec<EvaluationScore>,
}

impl Sheet<'_> {
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

    /// A stream for one metric of one group, so that no figure depends on which others there are.
    fn chance(&self, metric: &str) -> ChaCha8Rng {
        let seed = KeyHasher::new("evaluate")
            .number("run_seed", self.seed)
            .text("metric", metric)
            .text("group", self.group)
            .finish();
        ChaCha8Rng::seed_from_u64(seed.low_u64())
    }

    fn plain(&mut self, plain: &[&Seen]) {
        self.mean("plain_clip_ti", &prompt_cosines(plain));
        self.mean("plain_faces_found", &found(plain));
        let partners = random_partners(
            &faces(plain),
            false,
            &mut self.chance("plain_id_consistency"),
        );
        self.mean("plain_id_consistency", &partners);
    }

    fn people(&mut self, people: &[&Seen], plain: &[&Seen]) {
        self.mean("clip_ti", &prompt_cosines(people));
        let distance = frechet_distance(&embeddings(people), &embeddings(plain));
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

fn faces<'a>(seen: &[&'a Seen]) -> Vec<Face<'a>> {
    let face = |seen: &&'a Seen| {
        let vector = seen.face.as_deref()?;
        Some(Face {
            person: &seen.person,
            vector,
        })
    };
    seen.iter().filter_map(face).collect()
}

fn prompt_cosines(seen: &[&Seen]) -> Vec<f32> {
    seen.iter().filter_map(|s| s.prompt_cosine).collect()
}

fn found(seen: &[&Seen]) -> Vec<f32> {
    seen.iter().map(|s| share(s.face.is_some())).collect()
}

fn share(yes: bool) -> f32 {
    f32::from(u8::from(yes))
}

fn embeddings<'a>(seen: &[&'a Seen]) -> Vec<&'a [f32]> {
    seen.iter().map(|s| s.embedding.as_slice()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(person: &str, group: &str, face: Option<[f32; 2]>) -> Seen {
        Seen {
            person: person.to_owned(),
            group: group.to_owned(),
            embedding: vec![1.0, face.map_or(0.0, |f| f[0])],
            prompt_cosine: Some(0.25),
            face: face.map(|f| f.to_vec()),
        }
    }

    const EAST: Option<[f32; 2]> = Some([1.0, 0.0]);
    const NORTH: Option<[f32; 2]> = Some([0.0, 1.0]);

    fn gallery() -> Gallery {
        let mut gallery = Gallery::default();
        gallery.seen.extend([
            seen("ada", "x", EAST),
            seen("ada", "x", EAST),
            seen("ada", "y", None),
            seen("bea", "x", NORTH),
            seen("bea", "y", NORTH),
            seen(PLAIN, "x", EAST),
            seen(PLAIN, "x", NORTH),
        ]);
        gallery.seed_differences.push(("x".to_owned(), 0.5));
        gallery.seed_differences.push(("y".to_owned(), 0.25));
        gallery
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
    fn figures_of_known_faces() {
        let scores = scores(&gallery(), &references(), 1);
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
    fn groups_stand_alone_and_what_is_unknown_has_no_row() {
        let scores = scores(&gallery(), &references(), 1);
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
    fn nothing_seen_is_nothing_said() {
        let scores = scores(&Gallery::default(), &References::new(), 1);
        assert_eq!(find(&scores, "people", ALL), Some((0.0, 0)));
        assert_eq!(scores.len(), 1);
    }

    #[test]
    fn a_figure_of_a_group_is_its_own_whatever_else_there_is() {
        let of_both = scores(&gallery(), &references(), 1);
        let mut only = gallery();
        only.seen.retain(|s| s.group == "x");
        let of_one = scores(&only, &references(), 1);
        let of_x = |scores: &[EvaluationScore]| {
            let rows = scores.iter().filter(|s| s.group == "x").cloned();
            rows.collect::<Vec<_>>()
        };
        assert_eq!(of_x(&of_both), of_x(&of_one));
    }
}
