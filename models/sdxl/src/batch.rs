//! How many pictures go through the U-Net at once, and what happens where the device's memory does not hold them.

use std::sync::Mutex;

use crate::error::{Error, Result};

/// The size of a batch. Where memory runs out it halves, once for as long as it lives; after that, running out is an error.
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
    /// Batches of `size` pictures; of one for 0.
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

    /// Calls `draw` on one batch of `jobs` after the other and hands what it returns, with the first job's number, to
    /// `each`. A batch that memory does not hold is drawn again in halves, if the size was not halved before.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] after that; any other error of `draw`; what `each` returns.
    pub fn run<Job, Done, Stop: From<Error>>(
        &self,
        jobs: &[Job],
        mut draw: impl FnMut(&[Job]) -> Result<Done>,
        mut each: impl FnMut(usize, Done) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let mut first = 0;
        while first < jobs.len() {
            let size = self.get().min(jobs.len() - first);
            match draw(&jobs[first..first + size]) {
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

    /// Takes half of `size` from now on, after `error` of a batch of `size` pictures.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] of a batch of one, or if it was halved before.
    pub(crate) fn halve(&self, size: usize, error: Error) -> Result<()> {
        let mut state = self.state();
        if state.halved || size < 2 {
            return Err(Error::OutOfMemory {
                pictures: size,
                source: Box::new(error),
            });
        }
        let half = size / 2;
        tracing::warn!(%error, "the memory does not hold {size} pictures at once: going on with {half}");
        *state = State {
            size: half,
            halved: true,
        };
        Ok(())
    }

    /// As [`BatchSize::halve`], where pictures were decoded beside the batch that failed: a batch of one is then drawn
    /// again with nothing beside it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if memory ran out before.
    pub(crate) fn halve_or_draw_alone(&self, size: usize, error: Error) -> Result<()> {
        if size > 1 || self.was_halved() {
            return self.halve(size, error);
        }
        tracing::warn!(%error, "the memory does not hold a picture beside another's decoding: going on without that");
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

    /// Draws 0…9 with room for `room` of them at once: the batches, and how it ended.
    fn run(batch: &BatchSize, room: usize) -> (Vec<Vec<u32>>, Result<()>) {
        let jobs: Vec<u32> = (0..10).collect();
        let mut drawn = Vec::new();
        let draw = |jobs: &[u32]| {
            if jobs.len() > room {
                return Err(refusal());
            }
            Ok(jobs.to_vec())
        };
        let ended = batch.run(&jobs, draw, |first, done| {
            assert_eq!(done[0] as usize, first);
            drawn.push(done);
            Ok(())
        });
        (drawn, ended)
    }

    #[test]
    fn batches_cover_all_jobs_in_order() {
        for size in [0, 1, 3, 10, 99] {
            let (drawn, ended) = run(&BatchSize::new(size), usize::MAX);
            ended.expect("all drawn");
            assert_eq!(drawn.concat(), (0..10).collect::<Vec<_>>());
            assert!(drawn.iter().all(|batch| batch.len() <= size.max(1)));
        }
    }

    #[test]
    fn out_of_memory_halves_once_and_then_fails() {
        let batch = BatchSize::new(8);
        let (drawn, ended) = run(&batch, 4);
        ended.expect("all drawn, in halves");
        assert_eq!((drawn.concat().len(), batch.get()), (10, 4));
        assert!(drawn.iter().all(|batch| batch.len() <= 4));

        let (drawn, ended) = run(&batch, 3);
        let error = ended.expect_err("once only");
        assert!(
            matches!(error, Error::OutOfMemory { pictures: 4, .. }),
            "{error}"
        );
        assert!(error.is_out_of_memory() && drawn.is_empty());

        let error = run(&BatchSize::new(1), 0)
            .1
            .expect_err("one cannot be halved");
        assert!(matches!(error, Error::OutOfMemory { pictures: 1, .. }));
    }

    #[test]
    fn other_errors_do_not_halve() {
        let batch = BatchSize::new(8);
        let draw = |_: &[u32]| Err::<(), _>(Error::setting("steps", 0, "1 to 1000"));
        assert!(
            batch
                .run(&[1, 2], draw, |_, ()| Ok::<_, Error>(()))
                .is_err()
        );
        assert_eq!((batch.get(), batch.was_halved()), (8, false));
    }

    #[test]
    fn one_picture_beside_another_is_drawn_alone_once() {
        let batch = BatchSize::new(1);
        batch.halve_or_draw_alone(1, refusal()).expect("goes on");
        assert_eq!((batch.get(), batch.was_halved()), (1, true));
        let again = batch.halve_or_draw_alone(1, refusal());
        assert!(matches!(again, Err(Error::OutOfMemory { pictures: 1, .. })));
    }
}
