//! How many images go through the U-Net at once, and what happens where the device's memory does
//! not hold them.

use std::sync::Mutex;

use crate::error::{Error, Result};

/// The size of a batch. Where memory runs out it halves, once for as long as it lives; after that,
/// running out is an error.
#[derive(Debug)]
pub struct BatchSize {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    size: usize,
    halved: bool,
}

impl BatchSize {
    /// Batches of `size` images; of one for 0.
    pub fn new(size: usize) -> Self {
        let (size, halved) = (size.max(1), false);
        Self {
            state: Mutex::new(State { size, halved }),
        }
    }

    /// The size as it is now.
    pub fn get(&self) -> usize {
        self.state().size
    }

    /// Whether memory has run out before: then nothing else should be kept in it beside a batch.
    pub fn was_halved(&self) -> bool {
        self.state().halved
    }

    /// Calls `generate` on one batch of `jobs` after the other and hands what it returns, with the
    /// first job's number, to `each`. A batch that memory does not hold is run again in halves, if
    /// the size was not halved before.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] after that; any other error of `generate`; what `each` returns.
    pub fn run<Job, Done, Stop: From<Error>>(
        &self,
        jobs: &[Job],
        mut generate: impl FnMut(&[Job]) -> Result<Done>,
        mut each: impl FnMut(usize, Done) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let mut first = 0;
        while first < jobs.len() {
            let size = self.get().min(jobs.len() - first);
            match generate(&jobs[first..first + size]) {
                Ok(done) => {
                    each(first, done)?;
                    first += size;
                }
                Err(error) if error.is_out_of_memory() => self.halve(size, error)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes half of `size` from now on, after `error` of a batch of `size` images.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] of a batch of one, or if it was halved before.
    pub(crate) fn halve(&self, size: usize, error: Error) -> Result<()> {
        let mut state = self.state();
        if state.halved || size < 2 {
            return Err(Error::OutOfMemory {
                images: size,
                source: Box::new(error),
            });
        }
        let half = size / 2;
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the memory does not hold {size} images at once: going on with {half}"
        );
        *state = State {
            size: half,
            halved: true,
        };
        Ok(())
    }

    /// As [`BatchSize::halve`], where images were decoded beside the batch that failed: a batch of
    /// one is then run again with nothing beside it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if memory ran out before.
    pub(crate) fn halve_or_stop_overlapping(&self, size: usize, error: Error) -> Result<()> {
        if size > 1 || self.was_halved() {
            return self.halve(size, error);
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the memory does not hold an image beside another's decoding: going on without that"
        );
        self.state().halved = true;
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        let state = self.state.lock();
        // A state is written whole: a panic elsewhere leaves it as it was.
        state.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the CUDA driver's refusal looks like when it comes through candle.
    fn refusal() -> Error {
        let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        Error::Candle(candle_core::Error::Msg(text.into()))
    }

    /// Runs 0…9 with room for `room` of them at once: the batches, and how it ended.
    fn run(batch: &BatchSize, room: usize) -> (Vec<Vec<u32>>, Result<()>) {
        let jobs: Vec<u32> = (0..10).collect();
        let mut batches = Vec::new();
        let generate = |jobs: &[u32]| {
            if jobs.len() > room {
                return Err(refusal());
            }
            Ok(jobs.to_vec())
        };
        let ended = batch.run(&jobs, generate, |first, done| {
            assert_eq!(done[0] as usize, first);
            batches.push(done);
            Ok(())
        });
        (batches, ended)
    }

    #[test]
    fn batches_cover_all_jobs_in_order() {
        for size in [0, 1, 3, 10, 99] {
            let (batches, ended) = run(&BatchSize::new(size), usize::MAX);
            ended.expect("all done");
            assert_eq!(batches.concat(), (0..10).collect::<Vec<_>>());
            assert!(batches.iter().all(|batch| batch.len() <= size.max(1)));
        }
    }

    #[test]
    fn out_of_memory_halves_once_and_then_fails() {
        let batch = BatchSize::new(8);
        let (batches, ended) = run(&batch, 4);
        ended.expect("all, in halves");
        assert_eq!((batches.concat().len(), batch.get()), (10, 4));
        assert!(batches.iter().all(|batch| batch.len() <= 4));

        let (batches, ended) = run(&batch, 3);
        let error = ended.expect_err("once only");
        assert!(
            matches!(error, Error::OutOfMemory { images: 4, .. }),
            "{error}"
        );
        assert!(error.is_out_of_memory() && batches.is_empty());

        let error = run(&BatchSize::new(1), 0)
            .1
            .expect_err("one cannot be halved");
        assert!(matches!(error, Error::OutOfMemory { images: 1, .. }));
    }

    #[test]
    fn other_errors_do_not_halve() {
        let batch = BatchSize::new(8);
        let generate = |_: &[u32]| Err::<(), _>(Error::setting("steps", 0, "1 to 1000"));
        assert!(
            batch
                .run(&[1, 2], generate, |_, ()| Ok::<_, Error>(()))
                .is_err()
        );
        assert_eq!((batch.get(), batch.was_halved()), (8, false));
    }

    #[test]
    fn a_single_image_retries_once_without_overlap() {
        let batch = BatchSize::new(1);
        batch
            .halve_or_stop_overlapping(1, refusal())
            .expect("goes on");
        assert_eq!((batch.get(), batch.was_halved()), (1, true));
        let again = batch.halve_or_stop_overlapping(1, refusal());
        assert!(matches!(again, Err(Error::OutOfMemory { images: 1, .. })));
    }
}
