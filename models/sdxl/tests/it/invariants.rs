//! What must hold without a reference: a picture depends on its own request alone.

use laioncele_sdxl::{
    ImageRequest, LoadOptions, NameEmbedding, Noise, NullText, SamplingSettings, SchedulerKind,
    Sdxl, SdxlOptions, TextEncoders,
};
use proptest::prelude::*;

use crate::common::fixture;

fn settings() -> SamplingSettings {
    SamplingSettings {
        steps: 4,
        height: Some(64),
        width: Some(48),
        ..SamplingSettings::default()
    }
}

#[test]
fn a_picture_does_not_depend_on_its_companions() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders
        .encode_prompt("a portrait of a person")
        .expect("encoded");
    let other = encoders.encode_prompt("a watercolor").expect("encoded");
    let null = encoders.encode_null(&NullText::Empty).expect("null");
    let name = encoders.encode_name("Maria Johnson").expect("a name");
    let request = |prompt, name, seed| ImageRequest {
        prompt,
        name,
        null: &null,
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
        let draw = |requests: &[ImageRequest<'_>]| {
            sdxl.generate(requests, &settings, None).expect("pictures")
        };
        let four: Vec<_> = (1..=4)
            .map(|seed| request(&prompt, Some(&name), seed))
            .collect();
        let together = draw(&four);
        for (i, single) in four.iter().enumerate() {
            assert_eq!(draw(std::slice::from_ref(single))[0], together[i], "alone");
            let companions = [
                request(&other, None, 9),
                single.clone(),
                request(&prompt, None, i as u64),
            ];
            assert_eq!(draw(&companions)[1], together[i], "among others");
        }
        assert_ne!(together[0], together[1], "seeds matter");
        assert_ne!(
            draw(&[request(&prompt, None, 1)])[0],
            together[0],
            "the name matters"
        );
    }
}

#[test]
fn without_guidance_the_null_text_is_not_used() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders.encode_prompt("a person").expect("encoded");
    let settings = SamplingSettings {
        guidance: 1.0,
        ..settings()
    };
    let draw = |null: &NullText| {
        let null = encoders.encode_null(null).expect("null");
        let request = ImageRequest {
            prompt: &prompt,
            name: None,
            null: &null,
            noise: Noise::Torch(3),
        };
        sdxl.generate(&[request], &settings, None)
            .expect("a picture")
            .remove(0)
    };
    assert_eq!(
        draw(&NullText::Zeros),
        draw(&NullText::Text("blurred".into()))
    );
}

fn name(values: Vec<f32>) -> NameEmbedding {
    NameEmbedding::new(values, 3).expect("a name")
}

proptest! {
    #[test]
    fn equations_hold(a in prop::collection::vec(-3f32..3.0, 24), b in prop::collection::vec(-3f32..3.0, 24), eta in 0.1f32..100.0) {
        let (a, b) = (name(a), name(b));
        let same = |x: &NameEmbedding, y: &NameEmbedding| x.rows().iter().zip(y.rows()).all(|(x, y)| (x - y).abs() < 1e-4);
        prop_assert!(same(&a.recentre(&b, 1.0).expect("same width"), &a));
        prop_assert!(same(&a.recentre(&b, 0.0).expect("same width"), &b));
        prop_assert!(same(&a.interpolate(&b, 0.0).expect("same width"), &a));
        prop_assert!(same(&a.interpolate(&b, 1.0).expect("same width"), &b));
        prop_assert!(same(&NameEmbedding::mean([&a, &b]).expect("two"), &a.interpolate(&b, 0.5).expect("same width")));
        if a.norm() > 0.01 {
            prop_assert!((a.rescale(eta).norm() - eta).abs() < eta * 1e-4);
        }
    }
}
