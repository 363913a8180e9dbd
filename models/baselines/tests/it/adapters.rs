//! IP-Adapter against diffusers: tokens, predictions at several scales, whole runs.

use std::sync::Arc;

use laioncele_sdxl::{
    ConditionedRequest, Conditions, ImageRequest, NegativePrompt, Noise, Trace, UNet,
};
use serde_json::{Value, json};

use crate::common::{assert_close, fixture, largest_difference, numbers};
use crate::setup::{adapter, cases, conditioning, golden, picture, predict, sampling, sdxl, texts};

/// Base and plus, with their specs.
fn adapters() -> Vec<(String, Value)> {
    let cases = cases();
    let all = cases["adapters"].as_object().expect("adapters").clone();
    let supported = all.into_iter().filter(|(_, spec)| spec["kind"] != "faceid");
    let supported: Vec<_> = supported.collect();
    assert_eq!(supported.len(), 2);
    supported
}

fn unet() -> UNet {
    UNet::load(&fixture("model/unet"), &Default::default()).expect("a U-Net")
}

#[test]
fn tokens_match() {
    let (golden, unet) = (golden("ip_adapter"), unet());
    for (name, spec) in adapters() {
        let adapter = adapter(&name, &spec, &unet);
        let images = spec["images"].as_u64().expect("a count");
        let photos: Vec<_> = (0..images).map(|i| picture(&json!(i))).collect();
        let tokens = adapter.tokens(&photos).expect("tokens");
        let get = |what: &str| &golden[&format!("{name}.{what}")];
        // Of a hidden state the fixture keeps the first rows.
        let first_rows = |seen: &candle_core::Tensor| match seen.rank() {
            3 => seen.narrow(1, 0, 8).expect("rows"),
            _ => seen.clone(),
        };
        let what = |part: &str| format!("{name} {part}");
        let seen = numbers(&first_rows(&tokens.seen));
        assert_close(&what("embeds"), &seen, get("embeds"), 2e-5);
        let null = numbers(&first_rows(&tokens.null_seen));
        assert_close(&what("null"), &null, get("null_embeds"), 2e-5);
        assert_close(
            &what("tokens"),
            &numbers(&tokens.person),
            get("tokens"),
            2e-5,
        );
        assert_close(
            &what("null tokens"),
            &numbers(&tokens.null),
            get("null_tokens"),
            2e-5,
        );
    }
}

#[test]
fn predictions_match_at_all_scales() {
    let (cases, golden, unet) = (cases(), golden("ip_adapter"), unet());
    let context = numbers(&golden["context"]);
    let plain = || conditioning(&unet, &golden, &context, &numbers(&golden["text_embeds"]));
    let without = predict(&unet, &golden, &plain());
    assert_close("plain", &without, &golden["plain.unet"], 2e-5);
    for (name, spec) in adapters() {
        let adapter = adapter(&name, &spec, &unet);
        let run = |photos: &[image::RgbImage], scale: f64| {
            let seen = adapter.attention(photos, scale).expect("an attention");
            let seen = unet.see(plain(), &Arc::new(seen), 1).expect("it fits");
            predict(&unet, &golden, &seen)
        };
        let one = [picture(&json!(0))];
        for scale in cases["scales"].as_array().expect("scales") {
            let output = run(&one, scale.as_f64().expect("a number"));
            let key = format!("{name}.unet.{scale}");
            assert_close(&key, &output, &golden[&key], 2e-5);
        }
        assert_eq!(run(&one, 0.0), without, "a scale of 0 is the plain model");
        let two = [picture(&json!(0)), picture(&json!(1))];
        let output = run(
            &two,
            cases["two_pictures_scale"].as_f64().expect("a number"),
        );
        let key = format!("{name}.unet.two");
        assert_close(&key, &output, &golden[&key], 2e-5);
        let huge = run(&one, -3.0);
        assert!(
            largest_difference(&huge, &without) > 1e-3,
            "scales below 0 are possible"
        );
    }
}

/// Rows whose text is zeros see photos all the same.
#[test]
fn a_text_of_zeros_sees_photos() {
    let (golden, unet) = (golden("ip_adapter"), unet());
    let (name, spec) = adapters().remove(0);
    let seen = adapter(&name, &spec, &unet).attention(&[picture(&json!(0))], 0.7);
    let seen = Arc::new(seen.expect("an attention"));
    let pooled = numbers(&golden["text_embeds"]);
    let mut context = numbers(&golden["context"]);
    let row = context.len() / 2;
    // As near to zero as does not count: the way without the shortcut.
    context[..row].fill(1e-30);
    let run = |context: &[f32]| {
        let rows = conditioning(&unet, &golden, context, &pooled);
        predict(&unet, &golden, &unet.see(rows, &seen, 1).expect("it fits"))
    };
    let long_way = run(&context);
    context[..row].fill(0.0);
    let difference = largest_difference(&run(&context), &long_way);
    assert!(difference < 1e-5, "off by {difference}");
}

#[test]
fn trajectories_match() {
    let (cases, texts, sdxl) = (cases(), texts(), sdxl());
    let specs = adapters();
    let trajectories = cases["adapter_trajectories"].as_array().expect("cases");
    assert!(!trajectories.is_empty());
    for case in trajectories {
        let id = case["id"].as_str().expect("an id");
        let golden = golden(&format!("trajectory_{id}"));
        let (name, spec) = (specs.iter())
            .find(|(name, _)| case["adapter"] == name.as_str())
            .expect("its adapter");
        let adapter = adapter(name, spec, sdxl.unet());
        let scale = case["scale"].as_f64().expect("a scale");
        let seen = adapter.attention(&[picture(&case["picture"])], scale);
        let conditions = Conditions {
            image: Some(Arc::new(seen.expect("an attention"))),
            later: None,
        };
        let negative = NegativePrompt::Text(case["negative_prompt"].as_str().expect("text").into());
        let prompt = case["prompt"].as_str().expect("a prompt");
        let request = ConditionedRequest {
            request: ImageRequest {
                prompt: &texts.encode_prompt(prompt).expect("encoded"),
                name: None,
                negative: &texts.encode_negative(&negative).expect("encoded"),
                noise: Noise::from(numbers(&golden["noise"])),
            },
            conditions: &conditions,
        };
        let mut trace = Trace::default();
        sdxl.generate_conditioned(&[request], &sampling(case), Some(&mut trace))
            .expect("an image");
        for (what, tolerance) in [("embeds", 2e-5), ("states", 5e-4), ("decoded", 5e-4)] {
            let ours = trace.floats(what).expect("recorded");
            assert_close(&format!("{id} {what}"), ours, &golden[what], tolerance);
        }
    }
}

/// Batches of several people, and images with and without photos side by side, are each their own.
#[test]
fn images_do_not_depend_on_their_neighbours() {
    let (texts, sdxl) = (texts(), sdxl());
    let (name, spec) = adapters().remove(0);
    let adapter = adapter(&name, &spec, sdxl.unet());
    let seen = |number: u64| {
        let seen = adapter.attention(&[picture(&json!(number))], 1.0);
        Conditions {
            image: Some(Arc::new(seen.expect("an attention"))),
            later: None,
        }
    };
    let people = [seen(0), Conditions::default(), seen(1)];
    let prompt = texts
        .encode_prompt("a person on the beach")
        .expect("encoded");
    let negative = texts
        .encode_negative(&NegativePrompt::Empty)
        .expect("encoded");
    let requests: Vec<_> = (0..6)
        .map(|i| ConditionedRequest {
            request: ImageRequest {
                prompt: &prompt,
                name: None,
                negative: &negative,
                noise: Noise::Seed(7),
            },
            conditions: &people[i / 2],
        })
        .collect();
    let settings = laioncele_sdxl::SamplingSettings {
        steps: 2,
        height: Some(64),
        width: Some(64),
        ..Default::default()
    };
    let together = sdxl.generate_conditioned(&requests, &settings, None);
    let together = together.expect("images");
    for (request, image) in requests.iter().zip(&together) {
        let alone = sdxl.generate_conditioned(std::slice::from_ref(request), &settings, None);
        assert_eq!(alone.expect("an image")[0], *image);
    }
    assert_eq!(together[0], together[1]);
    assert!(together[0] != together[2] && together[0] != together[4]);
    let plain = sdxl.generate(&[requests[0].request.clone()], &settings, None);
    assert_eq!(
        plain.expect("an image")[0],
        together[2],
        "no conditions, a plain image"
    );
}
