//! What is decided about a name, and about every mention that is filed under it.

/// Whether a name is accepted, or why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameStatus {
    /// A name that stays if it has enough images.
    Accepted,
    /// No person's name, or several people's.
    NotAName,
    /// One word, not common enough.
    Mononym,
    /// On the exclusion list.
    Excluded,
}

impl NameStatus {
    /// All values, in the order of their numbers in data frames.
    pub(crate) const ALL: [Self; 4] = [
        Self::Accepted,
        Self::NotAName,
        Self::Mononym,
        Self::Excluded,
    ];
}
