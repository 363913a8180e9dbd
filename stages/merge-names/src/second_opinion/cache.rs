//! Answers of earlier requests: one object for each reply that was used.

use std::collections::HashMap;
use std::sync::Arc;

use laioncele_core::{Cache, CoreError, Digest};

use super::question::Answer;

/// The answers that a run has got so far.
#[derive(Clone)]
pub(super) struct AnswerCache {
    cache: Cache,
    answers: Arc<HashMap<Digest, Answer>>,
}

impl AnswerCache {
    /// Reads what is there; an object that is not a list of answers is passed over: its questions are asked again.
    ///
    /// # Errors
    /// Store errors.
    pub(super) fn open(cache: Cache) -> Result<Self, CoreError> {
        let mut answers = HashMap::new();
        for name in cache.names()? {
            let bytes = cache.get(&name)?.unwrap_or_default();
            match serde_json::from_slice::<Vec<(Digest, Answer)>>(&bytes) {
                Ok(kept) => answers.extend(kept),
                Err(error) => tracing::warn!(name, %error, "answers that cannot be read"),
            }
        }
        Ok(Self {
            cache,
            answers: Arc::new(answers),
        })
    }

    /// The answer to the question with this digest.
    pub(super) fn answer(&self, question: Digest) -> Option<Answer> {
        self.answers.get(&question).copied()
    }

    /// Keeps the answers of one reply, under the digest of the prompt.
    ///
    /// # Errors
    /// A full disk and the like.
    pub(super) fn put(
        &self,
        prompt: Digest,
        answers: &[(Digest, Answer)],
    ) -> Result<(), CoreError> {
        let bytes = serde_json::to_vec(answers).unwrap_or_default();
        self.cache.put(&format!("{prompt}.json"), bytes)
    }
}
