//! Prompt and name embeddings, the U-Net and the VAE against diffusers' own.

use laioncele_sdxl::{LoadOptions, NameEmbedding, NullText, TextEncoders, TimeIds, UNet, Vae};

use crate::common::{assert_close, fixture, golden, manifest, numbers};

fn strings(value: &serde_json::Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("strings")
}

fn encoders() -> TextEncoders {
    TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders")
}

#[test]
fn names_and_name_prepending_match() {
    let (cases, golden, encoders) = (&manifest()["cases"], golden("names"), encoders());
    let names: Vec<NameEmbedding> = strings(&cases["names"])
        .iter()
        .map(|name| encoders.encode_name(name).expect("a name"))
        .collect();
    let rows = |names: &[NameEmbedding]| {
        names
            .iter()
            .flat_map(|name| name.rows())
            .copied()
            .collect::<Vec<f32>>()
    };
    assert_close("names", &rows(&names), &golden["names"], 5e-5);
    let counts: Vec<f32> = names
        .iter()
        .map(|name| name.token_count().expect("counted") as f32)
        .collect();
    assert_close("token_count", &counts, &golden["token_count"], 0.0);
    assert!(
        names.iter().any(NameEmbedding::truncated) && !names.iter().all(NameEmbedding::truncated)
    );

    let mean = NameEmbedding::mean(&names).expect("a mean");
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
    let amplify =
        |name: &NameEmbedding| name.recentre(&mean, 5.0).expect("recentred").rescale(80.0);
    let amplified: Vec<NameEmbedding> = names.iter().map(amplify).collect();
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
    let (golden, encoders) = (golden("text"), encoders());
    let lines = crate::common::json_lines("tokens.jsonl");
    let chosen: Vec<usize> =
        serde_json::from_value(manifest()["cases"]["encoded_prompts"].clone()).expect("cases");
    let texts = chosen
        .iter()
        .map(|i| lines[*i]["text"].as_str().expect("text"));
    let prompts: Vec<_> = texts
        .map(|text| encoders.encode_prompt(text).expect("encoded"))
        .collect();
    let embeds: Vec<f32> = prompts
        .iter()
        .flat_map(|prompt| prompt.embeds.clone())
        .collect();
    let pooled: Vec<f32> = prompts
        .iter()
        .flat_map(|prompt| prompt.pooled.clone())
        .collect();
    assert_close("embeds", &embeds, &golden["embeds"], 2e-5);
    assert_close("pooled", &pooled, &golden["pooled"], 2e-5);
    assert!(prompts.iter().any(|prompt| prompt.truncated));
    // tiny-a's force_zeros_for_empty_prompt is true.
    assert!(
        encoders
            .encode_null(&NullText::Model)
            .expect("null")
            .embeds
            .iter()
            .all(|v| *v == 0.0)
    );
    assert_eq!(
        encoders.encode_null(&NullText::Empty).expect("null"),
        prompts[0]
    );
}

#[test]
fn the_unet_matches() {
    let unet = UNet::load(&fixture("model/unet"), &LoadOptions::default()).expect("a U-Net");
    let golden = golden("unet");
    for case in manifest()["cases"]["unet_cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        let get = |key: &str| &golden[&format!("{name}.{key}")];
        let time_ids: Vec<TimeIds> = numbers(get("time_ids")).as_chunks::<6>().0.to_vec();
        let conditioning = unet
            .condition(
                &numbers(get("context")),
                &numbers(get("text_embeds")),
                &time_ids,
            )
            .expect("conditioned");
        let timesteps: Vec<f64> = numbers(get("timesteps"))
            .into_iter()
            .map(f64::from)
            .collect();
        let table = unet.step_table(&timesteps, &conditioning).expect("a table");
        for (i, step) in table.iter().enumerate() {
            let output = unet
                .forward(get("sample"), step, &conditioning)
                .expect("a prediction");
            assert_close(
                &format!("{name} at {}", timesteps[i]),
                &numbers(&output),
                get(&format!("output.{i}")),
                2e-5,
            );
        }
    }
}

#[test]
fn the_vae_matches() {
    let vae = Vae::load(&fixture("model/vae"), &LoadOptions::default()).expect("a VAE");
    let golden = golden("vae");
    for (i, (height, width)) in [(8, 8), (5, 7)].into_iter().enumerate() {
        let get = |key: &str| &golden[&format!("{i}.{key}")];
        let decoded = vae
            .decode(&numbers(get("latent")), height, width)
            .expect("decoded");
        assert_close("decoded", &decoded, get("decoded"), 2e-5);
        let encoded = vae
            .encode(&numbers(get("image")), 8 * height, 8 * width)
            .expect("encoded");
        assert_close("mean", &encoded.mean, get("mean"), 2e-5);
        assert_close("logvar", &encoded.logvar, get("logvar"), 2e-5);
    }
}
