//! Batches of a real model that is made to fail: every picture comes once, in order, or the error says why not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;
use crate::name::NameEmbedding;
use crate::noise::Noise;
use crate::pipeline::{SamplingSettings, Sdxl, SdxlOptions};
use crate::text::{NullText, TextEncoders};

const PICTURES: usize = 7;

/// A model with a limit and with faults.
struct Faulty<'a> {
    sdxl: &'a Sdxl,
    /// Pictures whose U-Net the memory holds at once.
    room: usize,
    /// The decoding, counted from 0, that fails, and how.
    decoding: Option<(usize, fn() -> Error)>,
    decoded: AtomicUsize,
    /// Batches that were begun.
    begun: AtomicUsize,
}

/// What the CUDA driver's refusal looks like when it comes through candle.
fn refusal() -> Error {
    let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
    Error::Candle(candle_core::Error::Msg(text.into()))
}

fn launch_failure() -> Error {
    let text = "DriverError(CUDA_ERROR_LAUNCH_FAILED, \"unspecified launch failure\")";
    Error::Candle(candle_core::Error::Msg(text.into()))
}

fn panic() -> Error {
    panic!("a defect in the decoder")
}

impl<'a> Faulty<'a> {
    fn new(sdxl: &'a Sdxl, room: usize, decoding: Option<(usize, fn() -> Error)>) -> Self {
        Self {
            sdxl,
            room,
            decoding,
            decoded: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        }
    }
}

impl Artist for Faulty<'_> {
    fn texts<'t>(
        &self,
        batch: &[ImageRequest<'_>],
        run: &Run,
        last: &'t mut Option<Texts>,
    ) -> Result<&'t Texts> {
        self.sdxl.texts(batch, run, last)
    }

    fn denoise(
        &self,
        batch: &[ImageRequest<'_>],
        texts: &Texts,
        run: &Run,
        recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if batch.len() > self.room {
            return Err(refusal());
        }
        self.sdxl.denoise(batch, texts, run, recorder)
    }

    fn decode(&self, latents: &[f32], run: &Run) -> Result<(RgbImage, Vec<f32>)> {
        let number = self.decoded.fetch_add(1, Ordering::Relaxed);
        match self.decoding {
            Some((at, error)) if at == number => Err(error()),
            _ => self.sdxl.decode(latents, run),
        }
    }
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The fixture's model and two names' texts.
struct Studio {
    sdxl: Sdxl,
    prompt: PromptEmbedding,
    null: PromptEmbedding,
    names: Vec<NameEmbedding>,
    run: Run,
}

/// How a drawing went.
struct Drawn {
    /// What came, as it came.
    pictures: Vec<Result<RgbImage>>,
    ended: Result<()>,
    warnings: usize,
}

impl Studio {
    fn open() -> Self {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../clip/tests/fixtures/tiny-a/model");
        let texts = TextEncoders::load(&folder, &Default::default()).expect("text encoders");
        let sdxl = Sdxl::load(&folder, &SdxlOptions::default()).expect("SDXL");
        let settings = SamplingSettings {
            steps: 2,
            height: Some(64),
            width: Some(48),
            ..SamplingSettings::default()
        };
        let name = |name: &str| texts.encode_name(name).expect("a name");
        Self {
            prompt: texts
                .encode_prompt("a portrait of a person")
                .expect("encoded"),
            null: texts.encode_null(&NullText::Empty).expect("encoded"),
            names: vec![name("Maria Johnson"), name("Li Wei")],
            run: sdxl.run(&settings).expect("settings"),
            sdxl,
        }
    }

    /// Pictures of both names in turn.
    fn requests(&self) -> Vec<ImageRequest<'_>> {
        let request = |seed: usize| ImageRequest {
            prompt: &self.prompt,
            name: Some(&self.names[seed % 2]),
            null: &self.null,
            noise: Noise::Seed(seed as u64),
        };
        (0..PICTURES).map(request).collect()
    }

    fn one_by_one(&self) -> Vec<RgbImage> {
        let single = BatchSize::new(1);
        let mut images = Vec::new();
        in_turn(
            &self.sdxl,
            &self.requests(),
            &self.run,
            &single,
            &mut None,
            |_, image| {
                images.push(image?);
                Ok::<(), Error>(())
            },
        )
        .expect("pictures");
        images
    }

    fn draw(&self, artist: &Faulty<'_>, requests: &[ImageRequest<'_>], size: &BatchSize) -> Drawn {
        let warnings = Arc::new(AtomicUsize::new(0));
        let mut pictures = Vec::new();
        let ended = tracing::subscriber::with_default(Warnings(warnings.clone()), || {
            in_batches(artist, requests, &self.run, size, |index, image| {
                assert_eq!(index, pictures.len(), "in their order, each once");
                pictures.push(image);
                Ok::<(), Error>(())
            })
        });
        Drawn {
            pictures,
            ended,
            warnings: warnings.load(Ordering::Relaxed),
        }
    }
}

/// Runs a test's body on a thread of its own and fails where it hangs: only then it takes ten minutes.
fn that_ends<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> std::thread::Result<T> {
    let (done, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _done = done;
        body()
    });
    let waited = ended.recv_timeout(Duration::from_secs(600));
    assert_eq!(
        waited,
        Err(mpsc::RecvTimeoutError::Disconnected),
        "it hangs"
    );
    thread.join()
}

/// The first pictures equal those that are drawn one by one.
fn assert_equal(drawn: &[Result<RgbImage>], singles: &[RgbImage]) {
    for (at, (ours, theirs)) in drawn.iter().zip(singles).enumerate() {
        let ours = ours
            .as_ref()
            .unwrap_or_else(|error| panic!("{at}: {error}"));
        let levels = ours.as_raw().iter().zip(theirs.as_raw());
        let worst = levels.map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "picture {at}: {worst:?} levels apart");
    }
}

#[test]
fn memory_that_ends_halves_the_batch_once_and_then_fails() {
    that_ends(|| {
        let studio = Studio::open();
        let (requests, singles) = (studio.requests(), studio.one_by_one());
        let size = BatchSize::new(4);
        let drawn = studio.draw(&Faulty::new(&studio.sdxl, 2, None), &requests, &size);
        drawn.ended.expect("all drawn, in halves");
        assert_eq!(
            (drawn.pictures.len(), size.get(), drawn.warnings),
            (PICTURES, 2, 1)
        );
        assert_equal(&drawn.pictures, &singles);

        // Later pictures begin with the half, without a word more.
        let artist = Faulty::new(&studio.sdxl, 2, None);
        let drawn = studio.draw(&artist, &requests, &size);
        drawn.ended.expect("all drawn");
        assert_eq!((drawn.pictures.len(), drawn.warnings), (PICTURES, 0));
        assert_eq!(artist.begun.into_inner(), PICTURES.div_ceil(2));

        let drawn = studio.draw(&Faulty::new(&studio.sdxl, 1, None), &requests, &size);
        let error = drawn.ended.expect_err("halved before");
        assert!(
            matches!(error, Error::OutOfMemory { pictures: 2, .. }),
            "{error}"
        );
        assert_eq!((drawn.pictures.len(), drawn.warnings), (0, 0));
    })
    .expect("no panic");
}

/// The fault strikes the fourth picture, while the next batch is denoised.
#[test]
fn a_decoder_that_runs_out_of_memory_is_asked_again_for_what_is_left() {
    that_ends(|| {
        let studio = Studio::open();
        let (requests, singles) = (studio.requests(), studio.one_by_one());
        for (pictures, half) in [(2, 1), (1, 1)] {
            let size = BatchSize::new(pictures);
            let artist = Faulty::new(&studio.sdxl, 2, Some((3, refusal)));
            let drawn = studio.draw(&artist, &requests, &size);
            drawn.ended.expect("all drawn");
            assert_eq!(
                (drawn.pictures.len(), size.get(), drawn.warnings),
                (PICTURES, half, 1)
            );
            assert!(size.was_halved());
            assert_equal(&drawn.pictures, &singles);
        }
    })
    .expect("no panic");
}

#[test]
fn another_error_ends_the_drawing_after_what_was_drawn_before_it() {
    that_ends(|| {
        let studio = Studio::open();
        let singles = studio.one_by_one();
        let size = BatchSize::new(2);
        let artist = Faulty::new(&studio.sdxl, 2, Some((3, launch_failure)));
        let drawn = studio.draw(&artist, &studio.requests(), &size);
        let error = drawn.ended.expect_err("the decoder's error");
        assert!(error.to_string().contains("LAUNCH_FAILED"), "{error}");
        assert_eq!(
            (drawn.pictures.len(), size.get(), drawn.warnings),
            (3, 2, 0)
        );
        assert_equal(&drawn.pictures, &singles);
    })
    .expect("no panic");
}

/// Here a name's embedding, whose products leave the range, in a batch with another name.
#[test]
fn numbers_that_are_not_finite_cost_their_own_picture_only() {
    that_ends(|| {
        let studio = Studio::open();
        let (mut requests, singles) = (studio.requests(), studio.one_by_one());
        let rows = vec![f32::MAX; studio.names[0].rows().len()];
        let vast = NameEmbedding::new(rows, studio.sdxl.name_width()).expect("an embedding");
        requests[3].name = Some(&vast);
        let drawn = studio.draw(
            &Faulty::new(&studio.sdxl, 4, None),
            &requests,
            &BatchSize::new(2),
        );
        drawn.ended.expect("the others are drawn");
        let (before, rest) = drawn.pictures.split_at(3);
        assert_equal(before, &singles);
        assert!(
            matches!(rest[0], Err(Error::NotFinite { .. })),
            "{:?}",
            rest[0]
        );
        assert_equal(&rest[1..], &singles[4..]);
        assert_eq!(drawn.pictures.len(), PICTURES);
    })
    .expect("no panic");
}

#[test]
fn whoever_takes_the_pictures_may_stop() {
    that_ends(|| {
        let studio = Studio::open();
        let (requests, size) = (studio.requests(), BatchSize::new(2));
        let mut taken = 0;
        let ended = in_batches(&studio.sdxl, &requests, &studio.run, &size, |_, image| {
            taken += 1;
            image?;
            match taken {
                2 => Err(Error::setting("pictures", 2, "enough")),
                _ => Ok(()),
            }
        });
        assert!(matches!(ended, Err(Error::Setting { .. })));
        assert_eq!(taken, 2);
    })
    .expect("no panic");
}

#[test]
fn a_panic_is_not_taken_for_an_end() {
    that_ends(|| {
        let studio = Studio::open();
        let (requests, size) = (studio.requests(), BatchSize::new(2));
        let artist = Faulty::new(&studio.sdxl, 4, Some((3, panic)));
        let draw = || studio.draw(&artist, &requests, &size);
        assert!(catch_unwind(AssertUnwindSafe(draw)).is_err());
    })
    .expect("no other panic");
}
