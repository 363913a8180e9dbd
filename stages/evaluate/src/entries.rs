//! Images on disk and what is known of them.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::images::{ALL, ImageInput};
use crate::prompts::Prompted;

/// An image's file and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What made it.
    pub(crate) system: String,
    /// Who it is of; empty for the base model's.
    pub(crate) person: String,
    pub(crate) path: PathBuf,
    pub(crate) prompted: Option<Prompted>,
}

impl Entry {
    pub(crate) fn group(&self) -> &str {
        let group = self.prompted.as_ref().and_then(|p| p.group.as_deref());
        group.unwrap_or(ALL)
    }

    pub(crate) fn prompt(&self) -> Option<&str> {
        self.prompted.as_ref().map(|p| p.prompt.as_str())
    }

    pub(crate) fn image<'a>(&'a self, file: Result<Cow<'a, [u8]>, String>) -> ImageInput<'a> {
        ImageInput {
            system: &self.system,
            person: &self.person,
            group: self.group(),
            prompt: self.prompt(),
            file,
        }
    }
}
