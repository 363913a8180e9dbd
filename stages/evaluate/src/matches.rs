//! Whether an image shows its own prompt rather than another one: a model that ignores prompts may have a high CLIP-TI
//! where all its prompts are alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::cosine;
use crate::images::{BASE_MODEL, ViewedImage, ViewedImages};

/// An image beside the other prompts of its person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PromptMatch {
    /// Mean cosine to the other prompts.
    pub(crate) others: f64,
    /// Whether no other prompt is as near as its own.
    pub(crate) own_is_nearest: bool,
}

/// The prompts that each system drew of each person, of all groups: those have one word for the person.
pub(crate) struct DrawnPrompts<'a> {
    drawn: BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>,
    embeddings: &'a BTreeMap<String, Vec<f32>>,
}

impl<'a> DrawnPrompts<'a> {
    pub(crate) fn of(viewed: &'a ViewedImages) -> Self {
        let mut drawn: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let of_people = viewed.images.iter().filter(|i| i.person != BASE_MODEL);
        for image in of_people {
            if let Some(prompt) = &image.prompt {
                let key = (image.system.as_str(), image.person.as_str());
                drawn.entry(key).or_default().insert(prompt.as_str());
            }
        }
        Self {
            drawn,
            embeddings: &viewed.prompts,
        }
    }

    /// `None` for the base model's images, which show both words for a person; without a text tower; and where the person
    /// has one prompt only.
    pub(crate) fn of_image(&self, image: &ViewedImage) -> Option<PromptMatch> {
        let own = image.prompt_cosine?;
        let key = (image.system.as_str(), image.person.as_str());
        let others = self.drawn.get(&key)?.iter();
        let others = others.filter(|prompt| image.prompt.as_deref() != Some(**prompt));
        let cosines: Vec<f64> = others
            .filter_map(|prompt| Some(cosine(&image.embedding, self.embeddings.get(*prompt)?)))
            .collect();
        (!cosines.is_empty()).then(|| PromptMatch {
            others: cosines.iter().sum::<f64>() / cosines.len() as f64,
            own_is_nearest: cosines.iter().all(|other| *other < own),
        })
    }
}

#[cfg(test)]
mod tests {
    use laioncele_image::facts;

    use super::*;

    fn image(person: &str, prompt: &str, embedding: [f32; 2], own: f64) -> ViewedImage {
        ViewedImage {
            system: "s".to_owned(),
            person: person.to_owned(),
            group: "g".to_owned(),
            prompt: Some(prompt.to_owned()),
            embedding: embedding.to_vec(),
            prompt_cosine: Some(own),
            inception: None,
            face: None,
            facts: facts(&[]),
            size: [8, 8],
        }
    }

    /// East and north are at right angles; an image of Ada's is compared with her prompts alone.
    #[test]
    fn an_image_is_compared_with_its_persons_other_prompts() {
        let mut viewed = ViewedImages::default();
        let prompts = [
            ("east", [1.0, 0.0]),
            ("north", [0.0, 2.0]),
            ("west", [-1.0, 0.0]),
        ];
        let named = prompts.map(|(text, embedding)| (text.to_owned(), embedding.to_vec()));
        viewed.prompts.extend(named);
        viewed.images.extend([
            image("ada", "east", [3.0, 0.0], 1.0),
            image("ada", "north", [3.0, 0.0], 0.0),
            image("bea", "west", [3.0, 0.0], -1.0),
            image(BASE_MODEL, "east", [3.0, 0.0], 1.0),
        ]);
        let drawn = DrawnPrompts::of(&viewed);
        let found: Vec<_> = viewed.images.iter().map(|i| drawn.of_image(i)).collect();
        let expected = |others, own_is_nearest| {
            Some(PromptMatch {
                others,
                own_is_nearest,
            })
        };
        assert_eq!(
            found,
            [expected(0.0, true), expected(1.0, false), None, None]
        );
    }
}
