//! What a person sees while images are drawn: a bar on the terminal, with images, steps and the time that is left. Nothing
//! elsewhere: a pipe gets the list of images at the end.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use laioncele_sdxl::StepCounter;

use crate::terminal;
use crate::words::{count, duration, grouped};

/// The bar's name.
const BAR: &str = "drawing";
/// Time between two looks at the counters.
const TICK: Duration = Duration::from_millis(200);

/// Shows how far the drawing is, as long as it lives.
pub(super) struct Drawing {
    /// To be counted in by the sampler.
    pub(super) steps: StepCounter,
    state: Arc<State>,
    shown: Option<JoinHandle<()>>,
}

struct State {
    images: usize,
    steps: u64,
    done: AtomicUsize,
    ended: AtomicBool,
}

impl Drawing {
    /// Of `images` images, `steps` steps each; begins to show it, if somebody looks.
    pub(super) fn begin(images: usize, steps: usize, quiet: bool) -> Self {
        let drawing = Self {
            steps: StepCounter::default(),
            state: Arc::new(State {
                steps: images as u64 * steps as u64,
                done: AtomicUsize::new(0),
                ended: AtomicBool::new(false),
                images,
            }),
            shown: None,
        };
        match quiet || !io::stderr().is_terminal() {
            true => drawing,
            false => drawing.show(),
        }
    }

    fn show(mut self) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(self.state.steps), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix:>24} [{bar:24}] {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(BAR);
        terminal::show_bar(BAR, bar);
        let (state, steps, started) = (self.state.clone(), self.steps.clone(), Instant::now());
        self.shown = Some(std::thread::spawn(move || {
            while !state.ended.load(Ordering::Relaxed) {
                if let Some(bar) = terminal::bar(BAR) {
                    let steps = steps.get().min(state.steps);
                    bar.set_position(steps);
                    bar.set_message(state.describe(steps, started.elapsed()));
                }
                std::thread::park_timeout(TICK);
            }
        }));
        self
    }

    /// An image is done.
    pub(super) fn image_done(&self) {
        self.state.done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(shown) = self.shown.take() {
            shown.thread().unpark();
            // A bar that panicked has nothing left to show.
            drop(shown.join());
            terminal::clear_bar(BAR);
        }
    }
}

impl State {
    /// `1 of 4 images, step 52 of 200, 0.7/s, 3:31 left`
    fn describe(&self, steps: u64, elapsed: Duration) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let images = count(self.images, "image");
        let (now, all) = (grouped(steps), grouped(self.steps));
        let mut text = format!("{done} of {images}, step {now} of {all}");
        if steps > 0 && elapsed > Duration::from_secs(1) {
            let rate = steps as f64 / elapsed.as_secs_f64();
            let left = (self.steps - steps.min(self.steps)) as f64 / rate;
            let left = duration(Duration::from_secs_f64(left.min(1e9)));
            text.push_str(&format!(", {rate:.1}/s, {left} left"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_by_steps() {
        let drawing = Drawing::begin(4, 50, true);
        assert!(drawing.shown.is_none());
        let told = |steps, seconds| drawing.state.describe(steps, Duration::from_secs(seconds));
        assert_eq!(told(0, 9), "0 of 4 images, step 0 of 200");
        drawing.image_done();
        let text = told(50, 50);
        assert_eq!(text, "1 of 4 images, step 50 of 200, 1.0/s, 2:30 left");
    }
}
