//! The people of the evaluation must not be trained on: by name, and by face.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_face::FaceNets;
use laioncele_inference::references;

use crate::error::Result;
use crate::examples::Examples;

/// The people of `folder` who are in the data set, each with why: their name is one of its people's,
/// or a person's faces are like theirs, by the mean of all cosines, at least by `threshold`.
///
/// # Errors
/// A folder that cannot be read; a network that fails.
pub(crate) fn in_both(
    folder: &Path,
    examples: &Examples,
    faces: &FaceNets,
    threshold: f64,
) -> Result<Vec<String>> {
    let trained = people(examples)?;
    let mut found = Vec::new();
    for person in references::people(folder)? {
        let same = trained
            .keys()
            .find(|name| plain(name) == plain(&person.name));
        if let Some(name) = same {
            found.push(format!("{} (by name: {name})", person.name));
            continue;
        }
        // A reference that shows nobody is the evaluation's affair.
        let Ok(photos) = person.images() else {
            continue;
        };
        let mut own = Vec::new();
        for photo in &photos {
            if let Some(face) = faces.detect(photo)?.first() {
                own.push(faces.embed(photo, &face.landmarks)?);
            }
        }
        let alike = trained
            .iter()
            .map(|(name, theirs)| (similarity(&own, theirs), name));
        let most = alike.max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((cosine, name)) = most.filter(|(cosine, _)| *cosine >= threshold) {
            found.push(format!("{} (by face: {name}, {cosine:.2})", person.name));
        }
    }
    Ok(found)
}

/// A name without what spellings differ in.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// The faces of each person that is trained on.
fn people(examples: &Examples) -> Result<BTreeMap<String, Vec<Vec<f32>>>> {
    let mut people: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
    for index in 0..examples.len() {
        let person = examples.described(index).person.clone();
        let face = examples.read(index)?.face;
        people.entry(person).or_default().push(face);
    }
    Ok(people)
}

/// The mean of all cosines between two people's faces; −1 without faces.
fn similarity(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let known = b.iter().filter(|face| face.iter().any(|v| *v != 0.0));
    let cosine = |a: &[f32], b: &[f32]| {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>()
    };
    let all: Vec<f64> = known
        .flat_map(|b| a.iter().map(move |a| cosine(a, b)))
        .collect();
    match all.is_empty() {
        true => -1.0,
        false => all.iter().sum::<f64>() / all.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_name_are_one() {
        assert_eq!(plain("Mira-Castellan"), plain("mira castellan"));
        assert_ne!(plain("Mira"), plain("Mara"));
    }

    #[test]
    fn people_are_compared_by_the_mean_cosine() {
        let (a, b) = (vec![1.0, 0.0], vec![0.0, 1.0]);
        assert_eq!(similarity(std::slice::from_ref(&a), &[a.clone(), b]), 0.5);
        // A face without an embedding counts for nothing.
        assert_eq!(
            similarity(std::slice::from_ref(&a), &[a.clone(), vec![0.0, 0.0]]),
            1.0
        );
        assert_eq!(similarity(&[], &[a]), -1.0);
    }
}
