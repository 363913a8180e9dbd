//! A person in the N space.

use laioncele_sdxl::NameTensor;

/// The name of a person in the N space.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonName {
    /// Its embedding, before Equations 4 and 5.
    pub embedding: NameTensor,
    /// Whether it was predicted from photos: Equations 4 and 5 are for those; the text encoders' own names are used
    /// as they are.
    pub predicted: bool,
}
