//! What must hold without a reference: an image depends on its own request alone.

use laioncele_sdxl::{
    BatchSize, Error, ImageRequest, LoadOptions, NameTensor, NegativePrompt, Noise,
    SamplingSettings, SchedulerKind, Sdxl, SdxlOptions, TextEncoders, Trace, UNet,
};
use proptest::prelude::*;

use crate::common::{fixture, largest_difference, largest_level_difference, numbers};

fn settings() -> SamplingSettings {
    SamplingSettings {
        steps: 4,
        height: Some(64),
        width: Some(48),
        ..SamplingSettings::default()
    }
}

#[test]
fn an_image_does_not_depend_on_its_companions() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders
        .encode_prompt("a portrait of a person")
        .expect("encoded");
    let other = encoders.encode_prompt("a watercolor").expect("encoded");
    let negative = encoders
        .encode_negative(&NegativePrompt::Empty)
        .expect("encoded");
    let name = encoders.encode_name("Maria Johnson").expect("a name");
    let request = |prompt, name, seed| ImageRequest {
        prompt,
        name,
        negative: &negative,
        noise: Noise::Seed(seed),
    };
    for scheduler in [
        SchedulerKind::Ddim,
        SchedulerKind::Lcm,
        SchedulerKind::DpmPlusPlus2M,
    ] {
        let settings = SamplingSettings {
            scheduler: Some(scheduler),
            ..settings()
        };
        let generate = |requests: &[ImageRequest<'_>]| {
            sdxl.generate(requests, &settings, None).expect("images")
        };
        let four: Vec<_> = (1..=4)
            .map(|seed| request(&prompt, Some(&name), seed))
            .collect();
        let together = generate(&four);
        for (i, single) in four.iter().enumerate() {
            assert_eq!(
                generate(std::slice::from_ref(single))[0],
                together[i],
                "alone"
            );
            let companions = [
                request(&other, None, 9),
                single.clone(),
                request(&prompt, None, i as u64),
            ];
            assert_eq!(generate(&companions)[1], together[i], "among others");
        }
        assert_ne!(together[0], together[1], "seeds matter");
        assert_ne!(
            generate(&[request(&prompt, None, 1)])[0],
            together[0],
            "the name matters"
        );
    }
}

/// A model that generates `batch` images at once.
fn sdxl_in_batches(batch: usize) -> Sdxl {
    let options = SdxlOptions {
        batch: Some(batch),
        ..SdxlOptions::default()
    };
    Sdxl::load(&fixture("model"), &options).expect("SDXL")
}

#[test]
fn a_batch_equals_its_images_one_by_one() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let one = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = |text| encoders.encode_prompt(text).expect("encoded");
    let prompts = [prompt("a portrait of a person"), prompt("a watercolor")];
    let name = encoders.encode_name("Maria Johnson").expect("a name");
    for negative in [NegativePrompt::Empty, NegativePrompt::Zeros] {
        let negative = encoders.encode_negative(&negative).expect("encoded");
        // Texts that repeat, and not side by side.
        let request = |seed: u64| ImageRequest {
            prompt: &prompts[seed as usize % 2],
            name: (seed > 3).then_some(&name),
            negative: &negative,
            noise: Noise::Seed(seed),
        };
        let requests: Vec<_> = (1..=5).map(request).collect();
        for (scheduler, guidance) in [(SchedulerKind::Ddim, 5.0), (SchedulerKind::Lcm, 1.0)] {
            let settings = SamplingSettings {
                scheduler: Some(scheduler),
                guidance,
                ..settings()
            };
            let mut expected = Trace::default();
            let singles = one
                .generate(&requests, &settings, Some(&mut expected))
                .expect("images");
            for batch in [2, 8] {
                let sdxl = sdxl_in_batches(batch);
                let mut trace = Trace::default();
                let together = sdxl
                    .generate(&requests, &settings, Some(&mut trace))
                    .expect("images");
                for (key, tensor) in expected.tensors() {
                    assert_eq!(trace.tensors()[key].shape, tensor.shape, "{key}");
                    if let (Some(ours), Some(theirs)) = (trace.floats(key), expected.floats(key)) {
                        let worst = largest_difference(ours, theirs);
                        assert!(worst <= 5e-4, "{key} of batches of {batch}: off by {worst}");
                    }
                }
                let mut overlapped = Vec::new();
                sdxl.generate_each(&requests, &settings, 1, |index, image| {
                    assert_eq!(index, overlapped.len(), "in their order");
                    overlapped.push(image?);
                    Ok::<(), Error>(())
                })
                .expect("images");
                assert_eq!(overlapped, together, "decoded beside the next batch");
                assert_eq!(singles.len(), together.len());
                for (a, b) in singles.iter().zip(&together) {
                    assert!(largest_level_difference(a, b) <= 1);
                }
            }
        }
    }
}

/// Text keys and values of zeros need no attention: what is left out must be exactly nothing.
#[test]
fn negative_embedding_of_zeros_skips_cross_attention() {
    let unet = UNet::load(&fixture("model/unet"), &LoadOptions::default()).expect("a U-Net");
    let (tokens, width, pooled) = (77, unet.context_width(), unet.pooled_width());
    let text: Vec<f32> = Noise::Seed(1).sample(tokens * width).expect("noise");
    // The smallest number is no zero, but its products are.
    let tiny = vec![f32::from_bits(1); tokens * width];
    let sample = Noise::Seed(2)
        .sample(2 * unet.channels() * 64)
        .expect("noise");
    let sample = unet
        .tensor(&sample, (2, unet.channels(), 8, 8))
        .expect("a tensor");
    let predict = |negative: &[f32]| {
        let context = [negative, text.as_slice()].concat();
        let sizes = [[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]; 2];
        let conditioning = unet
            .condition(&context, &vec![0.5; 2 * pooled], &sizes)
            .expect("conditioned");
        let steps = unet.step_table(&[501.0], &conditioning).expect("a table");
        let output = unet.forward(&sample, &steps[0], &conditioning);
        numbers(&output.expect("a prediction"))
    };
    assert_eq!(predict(&vec![0.0; tokens * width]), predict(&tiny));
}

/// Memory that ends: images are generated in halves, then the run ends with an error that says what
/// to do.
#[test]
fn out_of_memory_halves_the_batch_and_then_fails() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders.encode_prompt("a person").expect("encoded");
    let negative = encoders
        .encode_negative(&NegativePrompt::Zeros)
        .expect("encoded");
    let request = |seed| ImageRequest {
        prompt: &prompt,
        name: None,
        negative: &negative,
        noise: Noise::Seed(seed),
    };
    let requests: Vec<_> = (0..6).map(request).collect();
    let all = sdxl
        .generate(&requests, &settings(), None)
        .expect("generated");
    let run = |size: &BatchSize, room: usize| {
        let generate = |batch: &[ImageRequest<'_>]| {
            if batch.len() > room {
                // candle's form of the driver's error.
                let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
                return Err(Error::Candle(candle_core::Error::Msg(text.into())));
            }
            sdxl.generate(batch, &settings(), None)
        };
        let mut generated = Vec::new();
        size.run(&requests, generate, |first, images| {
            assert_eq!(first, generated.len());
            generated.extend(images);
            Ok::<(), Error>(())
        })?;
        Ok::<_, Error>(generated)
    };
    let size = BatchSize::new(4);
    assert_eq!(run(&size, 2).expect("in halves"), all);
    assert_eq!(size.get(), 2);
    let error = run(&size, 1).expect_err("halved before");
    assert!(error.is_out_of_memory());
    let text = error.to_string();
    assert!(
        text.contains("2 at once") && text.contains("batch"),
        "{text}"
    );
}

#[test]
fn guidance_of_one_ignores_the_negative_prompt() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders.encode_prompt("a person").expect("encoded");
    let settings = SamplingSettings {
        guidance: 1.0,
        ..settings()
    };
    let generate = |negative: &NegativePrompt| {
        let negative = encoders.encode_negative(negative).expect("encoded");
        let request = ImageRequest {
            prompt: &prompt,
            name: None,
            negative: &negative,
            noise: Noise::Torch(3),
        };
        sdxl.generate(&[request], &settings, None)
            .expect("an image")
            .remove(0)
    };
    assert_eq!(
        generate(&NegativePrompt::Zeros),
        generate(&NegativePrompt::Text("blurred".into()))
    );
}

fn name(values: Vec<f32>) -> NameTensor {
    NameTensor::new(values, 3).expect("a name")
}

proptest! {
    #[test]
    fn equations_hold(a in prop::collection::vec(-3f32..3.0, 24), b in prop::collection::vec(-3f32..3.0, 24), eta in 0.1f32..100.0) {
        let (a, b) = (name(a), name(b));
        let same = |x: &NameTensor, y: &NameTensor| x.rows().iter().zip(y.rows()).all(|(x, y)| (x - y).abs() < 1e-4);
        prop_assert!(same(&a.recentre(&b, 1.0).expect("same width"), &a));
        prop_assert!(same(&a.recentre(&b, 0.0).expect("same width"), &b));
        prop_assert!(same(&a.interpolate(&b, 0.0).expect("same width"), &a));
        prop_assert!(same(&a.interpolate(&b, 1.0).expect("same width"), &b));
        prop_assert!(same(&NameTensor::mean([&a, &b]).expect("two"), &a.interpolate(&b, 0.5).expect("same width")));
        if a.norm() > 0.01 {
            prop_assert!((a.rescale(eta).norm() - eta).abs() < eta * 1e-4);
        }
    }
}
