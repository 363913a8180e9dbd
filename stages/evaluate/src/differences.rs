//! Two systems on the same people and prompts: the mean difference of their images, in pairs.

use std::collections::BTreeMap;

use crate::images::ViewedImage;

/// A figure of each image of a system, by what it is paired by.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairedValues<'a> {
    /// By person, prompt and the image's place among those of both.
    values: BTreeMap<(usize, &'a str, usize), f64>,
}

impl<'a> PairedValues<'a> {
    /// The values of some of `images`, by place; `person` numbers people.
    pub(crate) fn of(
        images: &[&'a ViewedImage],
        person: impl Fn(&ViewedImage) -> Option<usize>,
        values: &[(usize, f64)],
    ) -> Self {
        let mut places: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let mut keys = Vec::with_capacity(images.len());
        for image in images {
            let prompt = image.prompt.as_deref().unwrap_or_default();
            keys.push(person(image).map(|person| {
                let place = places.entry((person, prompt)).or_default();
                *place += 1;
                (person, prompt, *place)
            }));
        }
        let keyed = values
            .iter()
            .filter_map(|(at, value)| Some((keys[*at]?, *value)));
        Self {
            values: keyed.collect(),
        }
    }

    /// (person, this − other) of each pair that both have.
    pub(crate) fn less(&self, other: &Self) -> Vec<(usize, f64)> {
        let pairs = self.values.iter();
        let differ = |(key, value): (&(usize, &str, usize), &f64)| {
            Some((key.0, value - other.values.get(key)?))
        };
        pairs.filter_map(differ).collect()
    }
}
