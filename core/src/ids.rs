//! Stable identifiers: the same input gives the same id on every machine, run and program version.

use serde::{Deserialize, Serialize};

use crate::digest::KeyHasher;
use crate::url::as_meant;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

id! {
    /// A caption of the source: hash of what its url means and of the caption's text.
    CaptionId
}
id! {
    /// A canonical name: hash of its text.
    NameId
}
id! {
    /// A web image: hash of what its url means, so that `&` and `&amp;` are one image.
    ImageId
}

impl CaptionId {
    /// The id of `caption` found beside the image at `url`, which may be as its source wrote it.
    pub fn of(url: &str, caption: &str) -> Self {
        Self(
            KeyHasher::new("caption-id")
                .text("url", &as_meant(url))
                .text("caption", caption)
                .finish()
                .low_u64(),
        )
    }
}

impl NameId {
    /// The id of the canonical name `name`.
    pub fn of(name: &str) -> Self {
        Self(
            KeyHasher::new("name-id")
                .text("name", name)
                .finish()
                .low_u64(),
        )
    }

    /// The bucket (0..`buckets`) that all rows of this name are routed to.
    ///
    /// # Panics
    /// Never for `buckets` ≥ 1; [`crate::manifest::RunSettings`] refuses 0.
    pub fn bucket(self, buckets: u32) -> u32 {
        u32::try_from(self.0 % u64::from(buckets.max(1))).unwrap_or(0)
    }
}

impl ImageId {
    /// The id of the image at `url`, which may be as its source wrote it.
    pub fn of(url: &str) -> Self {
        Self(
            KeyHasher::new("image-id")
                .text("url", &as_meant(url))
                .finish()
                .low_u64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pinned: ids are part of every table ever written.
    #[test]
    fn ids_never_change() {
        assert_eq!(
            CaptionId::of("http://a.example/1.jpg", "Mira Castellan").to_string(),
            "144e1213d637567f"
        );
        assert_eq!(NameId::of("Mira Castellan").to_string(), "e2767bc04564a909");
        assert_eq!(
            ImageId::of("http://a.example/1.jpg").to_string(),
            "89f276b3ac5de41a"
        );
    }

    #[test]
    fn both_spellings_of_an_url_are_one_image() {
        let [meant, written] = ["http://a.example/?a&b", "http://a.example/?a&amp;b"];
        assert_eq!(ImageId::of(written), ImageId::of(meant));
        assert_eq!(CaptionId::of(written, "x"), CaptionId::of(meant, "x"));
        assert_ne!(CaptionId::of(meant, "x&amp;"), CaptionId::of(meant, "x&"));
    }

    #[test]
    fn fields_do_not_run_together() {
        assert_ne!(CaptionId::of("ab", "c"), CaptionId::of("a", "bc"));
    }

    #[test]
    fn a_bucket_is_below_the_count() {
        for k in 0..100 {
            assert!(NameId(k * 0x9e37_79b9_7f4a_7c15).bucket(7) < 7);
        }
    }
}
