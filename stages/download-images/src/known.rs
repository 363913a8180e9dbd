//! Sorted ids: what is known of many images in eight bytes each.

use laioncele_core::ImageId;

/// A set of images that never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    ids: Vec<u64>,
}

impl Images {
    /// The set of these images.
    pub(crate) fn new(mut ids: Vec<u64>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        ids.shrink_to_fit();
        Self { ids }
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Where `image` is among them, if it is.
    pub(crate) fn position(&self, image: ImageId) -> Option<usize> {
        self.ids.binary_search(&image.0).ok()
    }

    /// Whether `image` is among them.
    pub(crate) fn contains(&self, image: ImageId) -> bool {
        self.position(image).is_some()
    }

    /// Those for which `keep` holds.
    pub(crate) fn filter(&self, keep: impl Fn(u64) -> bool) -> Self {
        let ids = self.ids.iter().copied().filter(|id| keep(*id)).collect();
        Self { ids }
    }

    /// Marks of these images, none of them set.
    pub(crate) fn marks(&self) -> Marks<'_> {
        Marks {
            images: self,
            set: vec![false; self.ids.len()],
        }
    }
}

/// Which of some images have been seen.
pub(crate) struct Marks<'a> {
    images: &'a Images,
    set: Vec<bool>,
}

impl Marks<'_> {
    /// Whether `image` is one of them and is seen for the first time.
    pub(crate) fn first(&mut self, image: ImageId) -> bool {
        let at = self.images.position(image);
        at.is_some_and(|at| !std::mem::replace(&mut self.set[at], true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_is_first_once() {
        let images = Images::new(vec![7, 3, 7]);
        assert_eq!((images.len(), images.contains(ImageId(4))), (2, false));
        let mut marks = images.marks();
        let first = [3, 7, 3, 4].map(|id| marks.first(ImageId(id)));
        assert_eq!(first, [true, true, false, false]);
        assert_eq!(images.filter(|id| id > 3).len(), 1);
    }
}
