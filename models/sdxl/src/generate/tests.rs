//! Batches of a real model that is made to fail: every image comes once, in order, or the error
//! says why not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use laioncele_nn::LoadOptions;

use super::*;
use crate::name::NameTensor;
use crate::noise::Noise;
use crate::options::SdxlOptions;
use crate::pipeline::Sdxl;
use crate::request::{ImageRequest, SamplingSettings};
use crate::text::{NegativePrompt, TextEncoders};

const IMAGES: usize = 7;

/// A model with a limit and with faults.
struct Faulty<'a> {
    sdxl: &'a Sdxl,
    /// Images whose U-Net the memory holds at once.
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

impl DiffusionModel for Faulty<'_> {
    fn condition<'t>(
        &self,
        batch: &[Job<'_>],
        params: &SamplingParams,
        last: &'t mut Option<TextConditioning>,
    ) -> Result<&'t TextConditioning> {
        self.sdxl.condition(batch, params, last)
    }

    fn denoise(
        &self,
        batch: &[Job<'_>],
        texts: &TextConditioning,
        params: &SamplingParams,
        recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if batch.len() > self.room {
            return Err(refusal());
        }
        self.sdxl.denoise(batch, texts, params, recorder)
    }

    fn decode(&self, latents: &[f32], params: &SamplingParams) -> Result<(RgbImage, Vec<f32>)> {
        let number = self.decoded.fetch_add(1, Ordering::Relaxed);
        match self.decoding {
            Some((at, error)) if at == number => Err(error()),
            _ => self.sdxl.decode(latents, params),
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
struct Fixture {
    sdxl: Sdxl,
    prompt: PromptEmbedding,
    negative: PromptEmbedding,
    names: Vec<NameTensor>,
    params: SamplingParams,
}

/// How generating went.
struct Outcome {
    /// What came, as it came.
    images: Vec<Result<RgbImage>>,
    ended: Result<()>,
    warnings: usize,
}

impl Fixture {
    fn open() -> Self {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../clip/tests/fixtures/tiny-a/model");
        let texts = TextEncoders::load(&folder, &LoadOptions::default()).expect("text encoders");
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
            negative: texts
                .encode_negative(&NegativePrompt::Empty)
                .expect("encoded"),
            names: vec![name("Maria Johnson"), name("Li Wei")],
            params: sdxl.params(&settings).expect("settings"),
            sdxl,
        }
    }

    /// Images of both names in turn.
    fn requests(&self) -> Vec<ImageRequest<'_>> {
        let request = |seed: usize| ImageRequest {
            prompt: &self.prompt,
            name: Some(&self.names[seed % 2]),
            negative: &self.negative,
            noise: Noise::Seed(seed as u64),
        };
        (0..IMAGES).map(request).collect()
    }

    fn one_by_one(&self) -> Vec<RgbImage> {
        let single = BatchSize::new(1);
        let mut images = Vec::new();
        in_sequence(
            &self.sdxl,
            &Job::plain(&self.requests()),
            &self.params,
            &single,
            &mut None,
            |_, image| {
                images.push(image?);
                Ok::<(), Error>(())
            },
        )
        .expect("images");
        images
    }

    fn generate(
        &self,
        model: &Faulty<'_>,
        requests: &[ImageRequest<'_>],
        size: &BatchSize,
    ) -> Outcome {
        let warnings = Arc::new(AtomicUsize::new(0));
        let mut images = Vec::new();
        let ended = tracing::subscriber::with_default(Warnings(warnings.clone()), || {
            in_batches(
                model,
                &Job::plain(requests),
                &self.params,
                size,
                |index, image| {
                    assert_eq!(index, images.len(), "in their order, each once");
                    images.push(image);
                    Ok::<(), Error>(())
                },
            )
        });
        Outcome {
            images,
            ended,
            warnings: warnings.load(Ordering::Relaxed),
        }
    }
}

/// Runs a test's body on a thread of its own and fails where it hangs: only then it takes ten
/// minutes.
fn that_ends<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> std::thread::Result<T> {
    let (done, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _done = done;
        body()
    });
    let waited = ended.recv_timeout(Duration::from_mins(10));
    assert_eq!(
        waited,
        Err(mpsc::RecvTimeoutError::Disconnected),
        "it hangs"
    );
    thread.join()
}

/// The first images equal those generated one by one.
fn assert_equal(outcome: &[Result<RgbImage>], singles: &[RgbImage]) {
    assert!(!outcome.is_empty() && outcome.len() <= singles.len());
    for (at, (ours, theirs)) in outcome.iter().zip(singles).enumerate() {
        let ours = ours
            .as_ref()
            .unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(ours.dimensions(), theirs.dimensions());
        let mut levels = ours.as_raw().iter().zip(theirs.as_raw());
        let close = levels.all(|(a, b)| a.abs_diff(*b) <= 1);
        assert!(close, "image {at}: more than one level apart");
    }
}

#[test]
fn out_of_memory_halves_the_batch_once_and_then_fails() {
    that_ends(|| {
        let fixture = Fixture::open();
        let (requests, singles) = (fixture.requests(), fixture.one_by_one());
        let size = BatchSize::new(4);
        let outcome = fixture.generate(&Faulty::new(&fixture.sdxl, 2, None), &requests, &size);
        outcome.ended.expect("all generated, in halves");
        assert_eq!(
            (outcome.images.len(), size.get(), outcome.warnings),
            (IMAGES, 2, 1)
        );
        assert_equal(&outcome.images, &singles);

        // Later images begin with the half, without a word more.
        let model = Faulty::new(&fixture.sdxl, 2, None);
        let outcome = fixture.generate(&model, &requests, &size);
        outcome.ended.expect("all generated");
        assert_eq!((outcome.images.len(), outcome.warnings), (IMAGES, 0));
        assert_eq!(model.begun.into_inner(), IMAGES.div_ceil(2));

        let outcome = fixture.generate(&Faulty::new(&fixture.sdxl, 1, None), &requests, &size);
        let error = outcome.ended.expect_err("halved before");
        assert!(
            matches!(error, Error::OutOfMemory { images: 2, .. }),
            "{error}"
        );
        assert_eq!((outcome.images.len(), outcome.warnings), (0, 0));
    })
    .expect("no panic");
}

/// The fault strikes the fourth image, while the next batch is denoised.
#[test]
fn decoder_out_of_memory_retries_what_is_left() {
    that_ends(|| {
        let fixture = Fixture::open();
        let (requests, singles) = (fixture.requests(), fixture.one_by_one());
        for (images, half) in [(2, 1), (1, 1)] {
            let size = BatchSize::new(images);
            let model = Faulty::new(&fixture.sdxl, 2, Some((3, refusal)));
            let outcome = fixture.generate(&model, &requests, &size);
            outcome.ended.expect("all generated");
            assert_eq!(
                (outcome.images.len(), size.get(), outcome.warnings),
                (IMAGES, half, 1)
            );
            assert!(size.was_halved());
            assert_equal(&outcome.images, &singles);
        }
    })
    .expect("no panic");
}

#[test]
fn other_errors_end_generation_after_the_images_before_them() {
    that_ends(|| {
        let fixture = Fixture::open();
        let singles = fixture.one_by_one();
        let size = BatchSize::new(2);
        let model = Faulty::new(&fixture.sdxl, 2, Some((3, launch_failure)));
        let outcome = fixture.generate(&model, &fixture.requests(), &size);
        let error = outcome.ended.expect_err("the decoder's error");
        assert!(error.to_string().contains("LAUNCH_FAILED"), "{error}");
        assert_eq!(
            (outcome.images.len(), size.get(), outcome.warnings),
            (3, 2, 0)
        );
        assert_equal(&outcome.images, &singles);
    })
    .expect("no panic");
}

/// Here a name's embedding, whose products leave the range, in a batch with another name.
#[test]
fn non_finite_numbers_fail_their_own_image_only() {
    that_ends(|| {
        let fixture = Fixture::open();
        let (mut requests, singles) = (fixture.requests(), fixture.one_by_one());
        let rows = vec![f32::MAX; fixture.names[0].rows().len()];
        let vast = NameTensor::new(rows, fixture.sdxl.name_width()).expect("an embedding");
        requests[3].name = Some(&vast);
        let outcome = fixture.generate(
            &Faulty::new(&fixture.sdxl, 4, None),
            &requests,
            &BatchSize::new(2),
        );
        outcome.ended.expect("the others are generated");
        let (before, rest) = outcome.images.split_at(3);
        assert_equal(before, &singles);
        assert!(
            matches!(rest[0], Err(Error::NotFinite { .. })),
            "{:?}",
            rest[0]
        );
        assert_equal(&rest[1..], &singles[4..]);
        assert_eq!(outcome.images.len(), IMAGES);
    })
    .expect("no panic");
}

#[test]
fn the_receiver_may_stop_generation() {
    that_ends(|| {
        let fixture = Fixture::open();
        let (requests, size) = (fixture.requests(), BatchSize::new(2));
        let mut taken = 0;
        let ended = in_batches(
            &fixture.sdxl,
            &Job::plain(&requests),
            &fixture.params,
            &size,
            |_, image| {
                taken += 1;
                image?;
                match taken {
                    2 => Err(Error::setting("images", 2, "enough")),
                    _ => Ok(()),
                }
            },
        );
        assert!(matches!(ended, Err(Error::Setting { .. })));
        assert_eq!(taken, 2);
    })
    .expect("no panic");
}

#[test]
fn a_panic_in_the_decoder_propagates() {
    that_ends(|| {
        let fixture = Fixture::open();
        let (requests, size) = (fixture.requests(), BatchSize::new(2));
        let model = Faulty::new(&fixture.sdxl, 4, Some((3, panic)));
        let generate = || fixture.generate(&model, &requests, &size);
        assert!(catch_unwind(AssertUnwindSafe(generate)).is_err());
    })
    .expect("no other panic");
}
