//! The columns that we read of a source, by what they are to us.

/// What a column of the source is to us: a key of `[source.columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The image's url.
    Url,
    /// The text beside it.
    Caption,
    /// Its width in pixels.
    Width,
    /// Its height in pixels.
    Height,
    /// Cosine similarity of image and caption.
    Similarity,
    /// Probability that the image is not safe for work.
    Punsafe,
    /// Probability that it has a watermark.
    Pwatermark,
    /// A hash of the image: hexadecimal text, bytes, or a number that says nothing about the bytes.
    Hash,
    /// LAION-400M's label: UNLIKELY, UNSURE or NSFW.
    Nsfw,
    /// Whether img2dataset has the image: `success`, or how it failed.
    Status,
    /// The image's bytes.
    Image,
}

/// How many roles there are.
pub(crate) const ROLES: usize = Role::ALL.len();

impl Role {
    /// Every role, in declared order.
    pub const ALL: [Self; 11] = [
        Self::Url,
        Self::Caption,
        Self::Width,
        Self::Height,
        Self::Similarity,
        Self::Punsafe,
        Self::Pwatermark,
        Self::Hash,
        Self::Nsfw,
        Self::Status,
        Self::Image,
    ];

    /// The key of `[source.columns]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Caption => "caption",
            Self::Width => "width",
            Self::Height => "height",
            Self::Similarity => "similarity",
            Self::Punsafe => "punsafe",
            Self::Pwatermark => "pwatermark",
            Self::Hash => "hash",
            Self::Nsfw => "nsfw",
            Self::Status => "status",
            Self::Image => "image",
        }
    }

    /// Whether the column holds numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Width | Self::Height | Self::Similarity | Self::Punsafe | Self::Pwatermark
        )
    }
}
