//! PhotoMaker V1 against TencentARC's numbers: ids, vectors, fused prompts, whole runs.

use laioncele_baselines::TriggerPrompt;
use laioncele_sdxl::{
    ConditionedRequest, Conditions, ImageRequest, LaterPrompt, NegativePrompt, Noise,
    PromptEmbedding, Sdxl, TextEncoders, Trace,
};
use serde_json::Value;

use crate::common::{assert_close, numbers};
use crate::setup::{
    cases, conditioning, golden, photomaker, picture, predict, sampling, sdxl, texts,
};

/// What a case comes to.
struct Encoded {
    trigger: TriggerPrompt,
    vectors: Vec<Vec<f32>>,
    expanded: PromptEmbedding,
    plain: PromptEmbedding,
    fused: PromptEmbedding,
    null: PromptEmbedding,
}

fn encoded(case: &Value, texts: &TextEncoders) -> Encoded {
    let maker = photomaker();
    let pictures = case["pictures"].as_array().expect("pictures");
    let photos: Vec<_> = pictures.iter().map(picture).collect();
    let text = |key: &str| case[key].as_str().expect("text");
    let word = cases()["photomaker"]["trigger"].clone();
    let word = word.as_str().expect("a trigger word");
    let trigger = TriggerPrompt::new(texts.tokenizers(), text("prompt"), word, photos.len());
    let trigger = trigger.expect("a class word");
    let [expanded, plain] = trigger.encode(texts).expect("encoded");
    let vectors = maker.vectors(&photos).expect("vectors");
    let negative = NegativePrompt::Text(text("negative_prompt").into());
    Encoded {
        fused: maker
            .fuse(&expanded, trigger.first_row, &vectors)
            .expect("fused"),
        null: texts.encode_negative(&negative).expect("encoded"),
        trigger,
        vectors,
        expanded,
        plain,
    }
}

fn merged() -> Sdxl {
    let mut sdxl = sdxl();
    photomaker()
        .merge_into(sdxl.unet_mut())
        .expect("a LoRA that fits");
    sdxl
}

#[test]
fn prompts_and_predictions_match() {
    let (golden, texts, sdxl) = (golden("photomaker"), texts(), merged());
    let cases = cases();
    for case in cases["photomaker_cases"].as_array().expect("cases") {
        let id = case["id"].as_str().expect("an id");
        let get = |what: &str| &golden[&format!("{id}.{what}")];
        let ours = encoded(case, &texts);
        let close = |what: &str, ours: &[f32]| {
            assert_close(&format!("{id} {what}"), ours, get(what), 2e-5);
        };
        let ids = |ids: &[u32]| ids.iter().map(|id| *id as f32).collect::<Vec<f32>>();
        for (what, ours) in [
            ("ids_1", &ours.trigger.expanded[0]),
            ("ids_2", &ours.trigger.expanded[1]),
            ("text_ids_1", &ours.trigger.plain[0]),
            ("text_ids_2", &ours.trigger.plain[1]),
        ] {
            assert_close(&format!("{id} {what}"), &ids(ours), get(what), 0.0);
        }
        let rows = ours.trigger.first_row..ours.trigger.first_row + ours.vectors.len();
        let mask: Vec<f32> = (0..77).map(|row| f32::from(rows.contains(&row))).collect();
        assert_close(&format!("{id} rows"), &mask, get("class_mask"), 0.0);
        close("id_embeds", &ours.vectors.concat());
        close("embeds", &ours.expanded.embeds);
        close("pooled", &ours.expanded.pooled);
        close("text_embeds", &ours.plain.embeds);
        close("text_pooled", &ours.plain.pooled);
        close("null_embeds", &ours.null.embeds);
        close("null_pooled", &ours.null.pooled);
        close("fused", &ours.fused.embeds);
        let context = [&ours.null.embeds[..], &ours.fused.embeds].concat();
        let pooled = [&ours.null.pooled[..], &ours.expanded.pooled].concat();
        let rows = conditioning(sdxl.unet(), &golden, &context, &pooled);
        close("unet", &predict(sdxl.unet(), &golden, &rows));
    }
}

#[test]
fn trajectories_match() {
    let (texts, sdxl, cases) = (texts(), merged(), cases());
    let mut runs = 0;
    for case in cases["photomaker_cases"].as_array().expect("cases") {
        let ours = encoded(case, &texts);
        for trajectory in case["trajectories"].as_array().expect("trajectories") {
            let id = trajectory["id"].as_str().expect("an id");
            let golden = golden(&format!("trajectory_{id}"));
            let start = trajectory["start_merge_step"].as_i64().expect("a step");
            let conditions = Conditions {
                image: None,
                later: Some(LaterPrompt {
                    first_step: usize::try_from(start + 1).expect("from the first on"),
                    prompt: ours.fused.clone(),
                }),
            };
            let request = ConditionedRequest {
                request: ImageRequest {
                    prompt: &ours.plain,
                    name: None,
                    negative: &ours.null,
                    noise: Noise::from(numbers(&golden["noise"])),
                },
                conditions: &conditions,
            };
            let mut trace = Trace::default();
            sdxl.generate_conditioned(&[request], &sampling(trajectory), Some(&mut trace))
                .expect("an image");
            for what in ["states", "predictions", "decoded"] {
                let ours = trace.floats(what).expect("recorded");
                assert_close(&format!("{id} {what}"), ours, &golden[what], 5e-4);
            }
            runs += 1;
        }
    }
    assert!(runs >= 2);
}

/// From the first step on, and never: the ends of the delayed start.
#[test]
fn the_later_prompt_may_come_at_once_or_never() {
    let (texts, sdxl) = (texts(), sdxl());
    let encode = |text: &str| texts.encode_prompt(text).expect("encoded");
    let (first, second) = (encode("a man in the snow"), encode("a red car"));
    let negative = texts
        .encode_negative(&NegativePrompt::Empty)
        .expect("encoded");
    let settings = laioncele_sdxl::SamplingSettings {
        steps: 3,
        height: Some(64),
        width: Some(64),
        ..Default::default()
    };
    let request = |prompt| ImageRequest {
        prompt,
        name: None,
        negative: &negative,
        noise: Noise::Seed(1),
    };
    let with_later = |first_step| {
        let later = Some(LaterPrompt {
            first_step,
            prompt: second.clone(),
        });
        let conditions = Conditions { image: None, later };
        let request = ConditionedRequest {
            request: request(&first),
            conditions: &conditions,
        };
        let images = sdxl.generate_conditioned(&[request], &settings, None);
        images.expect("an image").remove(0)
    };
    let plain = |prompt| {
        sdxl.generate(&[request(prompt)], &settings, None)
            .expect("an image")
    };
    assert_eq!(with_later(0), plain(&second)[0]);
    assert_eq!(with_later(3), plain(&first)[0]);
    assert_eq!(with_later(usize::MAX), plain(&first)[0]);
    let between = with_later(1);
    assert!(between != plain(&first)[0] && between != plain(&second)[0]);
}
