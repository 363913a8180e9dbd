//! Prompt and name embeddings, the U-Net and the VAE against diffusers' own.

use laioncele_sdxl::{LoadOptions, NameTensor, NegativePrompt, TextEncoders, UNet, Vae};

use crate::checks;
use crate::common::{assert_close, fixture, golden, manifest};

fn strings(value: &serde_json::Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("strings")
}

fn encoders() -> TextEncoders {
    TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders")
}

#[test]
fn names_and_name_prepending_match() {
    let (cases, golden, encoders) = (&manifest()["cases"], golden("names"), encoders());
    let names: Vec<NameTensor> = strings(&cases["names"])
        .iter()
        .map(|name| encoders.encode_name(name).expect("a name"))
        .collect();
    let rows = |names: &[NameTensor]| {
        names
            .iter()
            .flat_map(NameTensor::rows)
            .copied()
            .collect::<Vec<f32>>()
    };
    assert_close("names", &rows(&names), &golden["names"], 5e-5);
    let counts: Vec<f32> = names
        .iter()
        .map(|name| name.token_count().expect("counted") as f32)
        .collect();
    assert_close("token_count", &counts, &golden["token_count"], 0.0);
    assert!(names.iter().any(NameTensor::truncated) && !names.iter().all(NameTensor::truncated));

    let mean = NameTensor::mean(&names).expect("a mean");
    assert_close("mean", mean.rows(), &golden["mean"], 5e-5);
    let prompt = encoders
        .encode_prompt(cases["prompt"].as_str().expect("a prompt"))
        .expect("encoded");
    assert_close(
        "prompt_embeds",
        &prompt.embeds,
        &golden["prompt_embeds"],
        2e-5,
    );
    assert_close(
        "prompt_pooled",
        &prompt.pooled,
        &golden["prompt_pooled"],
        2e-5,
    );
    let amplify = |name: &NameTensor| name.recentre(&mean, 5.0).expect("recentred").rescale(80.0);
    let amplified: Vec<NameTensor> = names.iter().map(amplify).collect();
    assert_close("amplified", &rows(&amplified), &golden["amplified"], 5e-5);
    for (key, names) in [("np", &names), ("np_amplified", &amplified)] {
        let prepended = names
            .iter()
            .flat_map(|name| prompt.prepend(name).expect("prepended").embeds);
        assert_close(key, &prepended.collect::<Vec<_>>(), &golden[key], 5e-5);
    }
}

#[test]
fn prompts_match() {
    let encoders = encoders();
    let prompts = checks::prompts(&encoders, 2e-5, 2e-5);
    assert!(prompts.iter().any(|prompt| prompt.truncated));
    // tiny-a's force_zeros_for_empty_prompt is true.
    assert!(
        encoders
            .encode_negative(&NegativePrompt::Model)
            .expect("encoded")
            .embeds
            .iter()
            .all(|v| *v == 0.0)
    );
    assert_eq!(
        encoders
            .encode_negative(&NegativePrompt::Empty)
            .expect("encoded"),
        prompts[0]
    );
}

#[test]
fn the_unet_matches() {
    let unet = UNet::load(&fixture("model/unet"), &LoadOptions::default()).expect("a U-Net");
    checks::unet(&unet, 2e-5);
}

#[test]
fn the_vae_matches() {
    let vae = Vae::load(&fixture("model/vae"), &LoadOptions::default()).expect("a VAE");
    checks::vae(&vae, 2e-5);
}
