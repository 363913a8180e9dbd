//! A photo that is trained on, wherever it lay.

/// One photo of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// What its random draws hang on: the same photo has the same key wherever the data set lies.
    pub key: String,
    /// Whose it is.
    pub person: String,
    /// What it shows, if that is said.
    pub caption: Option<String>,
    /// The encoded file.
    pub bytes: Vec<u8>,
    /// The face that the data set kept, x0 y0 x1 y1 in pixels of the upright image.
    pub face_box: Option<[f32; 4]>,
}
