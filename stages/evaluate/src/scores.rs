//! The metrics: from what was measured in the images to the rows of the `evaluation` table.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::table::EvaluationScore;

use crate::differences::PairedValues;
use crate::distances;
use crate::identity::{Face, MOST_PAIRS, Pairs, Reading, auc, consistency, dot, partners, unit};
use crate::images::{ALL, BASE_MODEL, MEAN, ViewedImage, ViewedImages};
use crate::intervals::Bootstrap;
use crate::matches::{DrawnPrompts, PromptMatch};
use crate::people::References;
use crate::rows::{Rows, Value};
use crate::settings::Rules;

/// The metrics of each system: in each group of prompts, in all images, and the mean over the groups. A metric of an
/// empty set (no prompt, no image of the base model, one person only, …) has no row. Images without a face are in no
/// metric of faces; `faces_found` says how many have one. Intervals are of people redrawn
/// ([`Bootstrap`]); what has none is of fewer than two people, or is a distance whose interval would cost too much.
///
/// | metric | value |
/// |---|---|
/// | `clip_ti` | 100 × the mean cosine of CLIP's embeddings of image and prompt, never clamped |
/// | `clip_ti_others`, `prompt_precision` | the same with the other prompts that the system drew of the person; share of images that are nearest to their own prompt among those |
/// | `clip_i` | 100 × the mean cosine of CLIP's embeddings of image and reference photo |
/// | `fid`, `kid` | Fréchet and kernel distance over Inception's features to the images of the system in `against` |
/// | `frechet_clip`, `kernel_clip` | the same over CLIP's image embeddings (not of unit length) |
/// | `faces_found` | share of images with a face |
/// | `id_consistency` | reading A: mean cosine of each face to all others of the same person |
/// | `id_consistency_one_partner` | the same with one of them drawn at random |
/// | `id_consistency_of_all`, `id_consistency_of_all_one_partner` | reading B: the others of everybody |
/// | `reference_similarity` | mean cosine of each face to its person's reference photos |
/// | `reference_auc`, `reference_mean`, `random_reference_mean` | faces to their own reference against faces to others' references |
/// | `same_person_auc`, `same_person_mean`, `random_pair_mean` | all pairs of one person's faces against pairs of two people's |
/// | `seed_pixel_difference` | mean absolute pixel difference, over the whole range, between seeds of one person and prompt; of the base model, between neighbours of one prompt |
/// | `people`, `references_found` | how many people; the share of them whose reference photo shows a face |
/// | `clip_ti_difference`, `id_consistency_difference`, `reference_similarity_difference` | mean difference to the same image of the system in `against` |
pub fn scores(
    viewed: &ViewedImages,
    references: &References,
    rules: &Rules,
) -> Vec<EvaluationScore> {
    let world = World::of(viewed, references, rules);
    let mut rows = Rows::default();
    for group in &world.groups {
        let mut others: Vec<(&str, [PairedValues<'_>; 3])> = Vec::new();
        for system in &world.systems {
            let of_system = Group {
                world: &world,
                system,
                group,
                images: world.images(system, group),
            };
            let paired = of_system.add(&mut rows, viewed);
            for (other, values) in &others {
                of_system.add_differences(&mut rows, other, &paired, values);
            }
            others.push((system, paired));
        }
    }
    rows.add_means(&world.groups);
    let mut shown = world.systems.iter().filter(|s| **s != world.base);
    let ours = shown.clone().find(|s| **s == crate::OURS);
    count_people(
        &mut rows,
        ours.or(shown.next()).copied().unwrap_or_default(),
        references,
    );
    world.add_mean_intervals(&mut rows);
    rows.into_table()
}

fn count_people(rows: &mut Rows, system: &str, references: &References) {
    let found = references.values().filter(|r| r.face.is_some()).count();
    let people = references.len();
    let share = found as f64 / people.max(1) as f64;
    rows.add(system, ALL, "people", Value::new(people as f64, people));
    if people > 0 {
        rows.add(system, ALL, "references_found", Value::new(share, people));
    }
}

/// Everything that figures are taken from.
struct World<'a> {
    images: &'a [ViewedImage],
    references: &'a References,
    rules: &'a Rules,
    drawn: DrawnPrompts<'a>,
    /// People by name; numbers are in the names' order.
    people: BTreeMap<&'a str, usize>,
    /// The base model last.
    systems: Vec<&'a str>,
    /// The base model's, empty where there are no such images.
    base: &'a str,
    /// By name, all images last.
    groups: Vec<&'a str>,
}

impl<'a> World<'a> {
    fn of(viewed: &'a ViewedImages, references: &'a References, rules: &'a Rules) -> Self {
        let images = &viewed.images;
        let names: BTreeSet<&str> = (images.iter().map(|i| i.person.as_str()))
            .filter(|person| *person != BASE_MODEL)
            .collect();
        let mut systems: Vec<&str> = Vec::new();
        for image in images.iter().filter(|i| i.person != BASE_MODEL) {
            if !systems.contains(&image.system.as_str()) {
                systems.push(&image.system);
            }
        }
        let base = images.iter().find(|i| i.person == BASE_MODEL);
        let base = base.map_or("", |image| image.system.as_str());
        systems.extend((!base.is_empty()).then_some(base));
        let groups: BTreeSet<&str> = images.iter().map(|i| i.group.as_str()).collect();
        let named = groups.into_iter().filter(|group| *group != ALL);
        Self {
            images,
            references,
            rules,
            drawn: DrawnPrompts::of(viewed),
            people: names.into_iter().zip(0..).collect(),
            systems,
            base,
            groups: named.chain([ALL]).collect(),
        }
    }

    fn images(&self, system: &str, group: &str) -> Vec<&'a ViewedImage> {
        let within = |i: &&ViewedImage| i.system == system && (group == ALL || i.group == group);
        self.images.iter().filter(within).collect()
    }

    fn person(&self, image: &ViewedImage) -> Option<usize> {
        self.people.get(image.person.as_str()).copied()
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            seed: self.rules.seed,
            resamples: self.rules.resamples,
        }
    }

    /// The system that distances of `system` are taken to.
    fn against(&self, system: &str) -> Option<&'a str> {
        let chosen = self.rules.against.as_deref();
        let there = self.systems.iter().find(|s| Some(**s) == chosen);
        let base = self.systems.iter().find(|s| **s == self.base);
        let against = there.or(base).copied();
        against.filter(|against| *against != system)
    }

    /// Intervals of the means over the groups of CLIP-TI: one draw of people serves all groups.
    fn add_mean_intervals(&self, rows: &mut Rows) {
        let named: Vec<&str> = self.groups.iter().filter(|g| **g != ALL).copied().collect();
        for system in &self.systems {
            let mut sums = vec![vec![(0.0, 0.0); named.len()]; self.people.len()];
            for (at, group) in named.iter().enumerate() {
                for image in self.images(system, group) {
                    if let (Some(person), Some(cosine)) = (self.person(image), image.prompt_cosine)
                    {
                        sums[person][at].0 += 100.0 * cosine;
                        sums[person][at].1 += 1.0;
                    }
                }
            }
            let seen = |of: &Vec<(f64, f64)>| of.iter().any(|(_, count)| *count > 0.0);
            sums.retain(seen);
            let interval = self.bootstrap().of(sums.len(), |drawn| {
                let mean = |at: usize| {
                    let of = drawn.iter().map(|person| sums[*person][at]);
                    let (sum, count) = of.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                    (count > 0.0).then(|| sum / count)
                };
                let means: Option<Vec<f64>> = (0..named.len()).map(mean).collect();
                means.map(|means| means.iter().sum::<f64>() / named.len() as f64)
            });
            rows.set_interval(system, MEAN, "clip_ti", interval);
        }
    }
}

/// The images of a system in a group.
struct Group<'a, 'w> {
    world: &'w World<'a>,
    system: &'a str,
    group: &'a str,
    images: Vec<&'a ViewedImage>,
}

/// The metrics of images that are paired between systems.
const PAIRED: [&str; 3] = [
    "clip_ti_difference",
    "id_consistency_difference",
    "reference_similarity_difference",
];

impl<'a> Group<'a, '_> {
    /// Adds its figures; returns those that are compared with other systems, as [`PAIRED`] names them.
    fn add(&self, rows: &mut Rows, viewed: &ViewedImages) -> [PairedValues<'a>; 3] {
        let clip: Vec<(usize, f64)> = (self.images.iter().enumerate())
            .filter_map(|(at, image)| Some((at, 100.0 * image.prompt_cosine?)))
            .collect();
        self.mean(rows, "clip_ti", &clip);
        self.add_matches(rows);
        let found =
            |(at, image): (usize, &&ViewedImage)| (at, f64::from(u8::from(image.face.is_some())));
        self.mean(
            rows,
            "faces_found",
            &self
                .images
                .iter()
                .enumerate()
                .map(found)
                .collect::<Vec<_>>(),
        );
        self.add_distances(rows);
        let (places, faces) = self.faces();
        let back = |of_faces: Vec<(usize, f64)>| -> Vec<(usize, f64)> {
            of_faces
                .into_iter()
                .map(|(at, v)| (places[at], v))
                .collect()
        };
        let of_all = back(consistency(&faces, Reading::AllPictures));
        self.mean(rows, "id_consistency_of_all", &of_all);
        self.add_partners(
            rows,
            "id_consistency_of_all_one_partner",
            &faces,
            Reading::AllPictures,
        );
        self.add_seed_differences(rows, viewed);
        if self.system == self.world.base {
            return [
                self.paired(&clip),
                PairedValues::default(),
                PairedValues::default(),
            ];
        }
        let own = back(consistency(&faces, Reading::SamePerson));
        self.mean(rows, "id_consistency", &own);
        self.add_partners(
            rows,
            "id_consistency_one_partner",
            &faces,
            Reading::SamePerson,
        );
        self.add_pairs(rows, &faces);
        let similar = self.add_references(rows, &places, &faces);
        [&clip, &own, &similar].map(|values| self.paired(values))
    }

    /// How much seeds change the images.
    fn add_seed_differences(&self, rows: &mut Rows, viewed: &ViewedImages) {
        let differences = viewed.seed_differences.iter();
        let differences: Vec<f64> = differences
            .filter(|d| d.system == self.system && (self.group == ALL || d.group == self.group))
            .map(|d| f64::from(d.difference))
            .collect();
        self.plain_mean(rows, "seed_pixel_difference", &differences);
    }

    /// What the images have of other prompts than their own.
    fn add_matches(&self, rows: &mut Rows) {
        let of = |(at, image): (usize, &&ViewedImage)| {
            let found = self.world.drawn.of_image(image)?;
            Some((at, found))
        };
        let found: Vec<(usize, PromptMatch)> =
            self.images.iter().enumerate().filter_map(of).collect();
        let others = |(at, m): &(usize, PromptMatch)| (*at, 100.0 * m.others);
        let nearest = |(at, m): &(usize, PromptMatch)| (*at, f64::from(u8::from(m.own_is_nearest)));
        self.mean(
            rows,
            "clip_ti_others",
            &found.iter().map(others).collect::<Vec<_>>(),
        );
        self.mean(
            rows,
            "prompt_precision",
            &found.iter().map(nearest).collect::<Vec<_>>(),
        );
    }

    fn paired(&self, values: &[(usize, f64)]) -> PairedValues<'a> {
        PairedValues::of(&self.images, |image| self.world.person(image), values)
    }

    /// Mean differences to another system.
    fn add_differences(
        &self,
        rows: &mut Rows,
        other: &str,
        own: &[PairedValues<'_>; 3],
        others: &[PairedValues<'_>; 3],
    ) {
        for (metric, (own, others)) in PAIRED.into_iter().zip(own.iter().zip(others)) {
            let values = own.less(others);
            if !values.is_empty() {
                let mean = values.iter().map(|(_, v)| v).sum::<f64>() / values.len() as f64;
                let value = Value::new(mean, values.len())
                    .with_interval(self.world.bootstrap().of_mean(&values))
                    .against(other, values.len());
                rows.add(self.system, self.group, metric, value);
            }
        }
    }

    /// The mean of values of images, by their places.
    fn mean(&self, rows: &mut Rows, metric: &str, values: &[(usize, f64)]) {
        let Some(mean) = mean(values.iter().map(|(_, v)| *v)) else {
            return;
        };
        let of = |(at, value): &(usize, f64)| Some((self.world.person(self.images[*at])?, *value));
        let by_person: Vec<(usize, f64)> = values.iter().filter_map(of).collect();
        let value = Value::new(mean, values.len())
            .with_interval(self.world.bootstrap().of_mean(&by_person));
        rows.add(self.system, self.group, metric, value);
    }

    fn plain_mean(&self, rows: &mut Rows, metric: &str, values: &[f64]) {
        if let Some(mean) = mean(values.iter().copied()) {
            let value = Value::new(mean, values.len());
            rows.add(self.system, self.group, metric, value);
        }
    }

    /// The faces with the places of their images.
    fn faces(&self) -> (Vec<usize>, Vec<Face>) {
        let face = |(at, image): (usize, &&ViewedImage)| {
            let person = self.world.person(image).unwrap_or(usize::MAX);
            Some((at, Face::new(person, image.face.as_deref()?)))
        };
        self.images.iter().enumerate().filter_map(face).unzip()
    }

    fn add_partners(&self, rows: &mut Rows, metric: &str, faces: &[Face], reading: Reading) {
        let drawn = partners(faces, reading, self.world.rules.seed);
        let cosine = |(a, b): &(usize, usize)| dot(&faces[*a].vector, &faces[*b].vector);
        self.plain_mean(rows, metric, &drawn.iter().map(cosine).collect::<Vec<_>>());
    }

    fn add_pairs(&self, rows: &mut Rows, faces: &[Face]) {
        let Pairs { same, different } = Pairs::of(faces, MOST_PAIRS, self.world.rules.seed);
        if let Some(area) = auc(&same, &different) {
            let value = Value::new(area, same.len() + different.len());
            rows.add(self.system, self.group, "same_person_auc", value);
        }
        self.plain_mean(rows, "same_person_mean", &same);
        self.plain_mean(rows, "random_pair_mean", &different);
    }

    /// Adds what compares with reference photos; returns the similarity of each image to its own.
    fn add_references(
        &self,
        rows: &mut Rows,
        places: &[usize],
        faces: &[Face],
    ) -> Vec<(usize, f64)> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for (at, face) in places.iter().zip(faces) {
            for (person, reference) in self.world.references {
                let Some(reference) = &reference.face else {
                    continue;
                };
                let similarity = dot(&face.vector, reference);
                if *person == self.images[*at].person {
                    own.push((*at, similarity));
                } else {
                    others.push(similarity);
                }
            }
        }
        let values: Vec<f64> = own.iter().map(|(_, v)| *v).collect();
        self.mean(rows, "reference_similarity", &own);
        if let Some(area) = auc(&values, &others) {
            let value = Value::new(area, own.len() + others.len());
            rows.add(self.system, self.group, "reference_auc", value);
        }
        self.plain_mean(rows, "reference_mean", &values);
        self.plain_mean(rows, "random_reference_mean", &others);
        let clip = |(at, image): (usize, &&ViewedImage)| {
            let reference = self
                .world
                .references
                .get(&image.person)?
                .embedding
                .as_ref()?;
            Some((at, 100.0 * dot(&unit(&image.embedding), reference)))
        };
        let clip: Vec<(usize, f64)> = self.images.iter().enumerate().filter_map(clip).collect();
        self.mean(rows, "clip_i", &clip);
        own
    }

    /// Fréchet and kernel distances to the system that they are taken to.
    fn add_distances(&self, rows: &mut Rows) {
        let world = self.world;
        let Some(against) = world.against(self.system) else {
            return;
        };
        let others = world.images(against, self.group);
        let people = |image: &ViewedImage| world.person(image);
        for kind in distances::KINDS {
            let first = kind.side(&self.images, people);
            let second = kind.side(&others, people);
            let counts = (first.rows.len(), second.rows.len());
            let add = |rows: &mut Rows, metric: &str, value: Value| {
                rows.add(
                    self.system,
                    self.group,
                    metric,
                    value.against(against, counts.1),
                );
            };
            if let Some(value) = kind.frechet(&first, &second) {
                add(rows, kind.frechet_name, Value::new(value, counts.0));
            }
            let found = kind.kernel(&first, &second, world.people.len(), world.bootstrap());
            if let Some((value, interval)) = found {
                let value = Value::new(value, counts.0).with_interval(interval);
                add(rows, kind.kernel_name, value);
            }
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests;
