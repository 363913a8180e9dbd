//! What normalization finds in a mention.

/// A mention that holds one person's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The name: NFC, single spaces, name case.
    pub name: String,
    /// One name word only (`Beyoncé`, `Dr. Watson`).
    pub mononym: bool,
    /// Case had to be made: the mention was in capitals or small letters, so its capitals say
    /// nothing.
    pub recased: bool,
}

/// Why a mention holds no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A thing, place, brand, date, code or sign.
    #[error("no person's name")]
    NotAName,
    /// Two people or more.
    #[error("several people")]
    SeveralPeople,
}
