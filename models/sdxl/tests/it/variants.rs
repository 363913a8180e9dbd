//! Single files, VAE files, LoRAs and textual inversions against what diffusers makes of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use laioncele_nn::config::JsonFile;
use laioncele_sdxl::scheduler::{Schedule, SchedulerConfig, StepState};
use laioncele_sdxl::{
    ImageRequest, Inversion, Lora, NegativePrompt, Noise, PredictionSettings, PredictionType,
    SamplingSettings, Sdxl, SdxlFiles, SizeConditioning, TextEncoders, TimeIds, TimestepSpacing,
    Trace,
};
use serde_json::Value;

use crate::common::{assert_close, fixture, largest_difference, numbers};

type Golden = HashMap<String, Tensor>;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/variants")
        .join(path)
}

fn golden(name: &str) -> Golden {
    let path = file(&format!("goldens/{name}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).expect("a golden file")
}

fn manifest() -> Value {
    let text = std::fs::read_to_string(file("manifest.json")).expect("the manifest");
    serde_json::from_str(&text).expect("JSON")
}

fn base() -> SdxlFiles {
    SdxlFiles {
        folder: fixture("model"),
        ..SdxlFiles::default()
    }
}

fn single(name: &str) -> SdxlFiles {
    SdxlFiles {
        file: Some(file(&format!("single/{name}.safetensors"))),
        ..base()
    }
}

fn loras(files: &Value) -> Vec<Lora> {
    let lora = |pair: &Value| Lora {
        file: file(&format!(
            "lora/{}.safetensors",
            pair[0].as_str().expect("a name")
        )),
        strength: pair[1].as_f64().expect("a strength"),
    };
    files.as_array().into_iter().flatten().map(lora).collect()
}

fn texts(files: &SdxlFiles) -> TextEncoders {
    TextEncoders::load_files(files).expect("text encoders")
}

fn sdxl(files: &SdxlFiles) -> Sdxl {
    Sdxl::load_files(files).expect("an SDXL")
}

/// What the U-Net predicts for the goldens' inputs.
fn predict(sdxl: &Sdxl, inputs: &Golden) -> Vec<f32> {
    let get = |key: &str| numbers(&inputs[key]);
    let unet = sdxl.unet();
    let time_ids: Vec<TimeIds> = get("time_ids").as_chunks::<6>().0.to_vec();
    let conditioning = unet.condition(&get("context"), &get("text_embeds"), &time_ids);
    let conditioning = conditioning.expect("conditioned");
    let timestep = f64::from(get("timestep")[0]);
    let table = unet
        .step_table(&[timestep], &conditioning)
        .expect("a table");
    let output = unet.forward(&inputs["sample"], &table[0], &conditioning);
    numbers(&output.expect("a prediction"))
}

/// The two encoders' rows of prompts one after the other, at most `rows` of each, and the pooled
/// vectors.
fn encode(encoders: &TextEncoders, prompts: &[String], rows: usize, first: usize) -> [Vec<f32>; 3] {
    let mut out = [Vec::new(), Vec::new(), Vec::new()];
    for prompt in prompts {
        let encoded = encoders.encode_prompt(prompt).expect("encoded");
        for row in encoded.embeds.chunks_exact(encoded.width).take(rows) {
            out[0].extend(&row[..first]);
            out[1].extend(&row[first..]);
        }
        out[2].extend(encoded.pooled);
    }
    out
}

/// Width of the first encoder.
fn first_width() -> usize {
    let config = JsonFile::read(&fixture("model/text_encoder/config.json")).expect("JSON");
    config
        .get("hidden_size")
        .and_then(Value::as_u64)
        .expect("a width") as usize
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("strings")
}

#[test]
fn single_files_are_what_diffusers_reads() {
    let (manifest, golden) = (manifest(), golden("single"));
    let cases = manifest["cases"]["singles"].as_object().expect("cases");
    let prompts = strings(&manifest["cases"]["prompts"]);
    for name in cases.keys() {
        let files = single(name);
        let model = sdxl(&files);
        let what = |key: &str| format!("{name} {key}");
        let key = format!("{name}.unet");
        assert_close(&key, &predict(&model, &golden), &golden[&key], 2e-5);
        if golden.contains_key(&format!("{name}.pooled")) {
            let found = encode(&texts(&files), &prompts, 77, first_width());
            for (part, found) in ["penultimate_1", "penultimate_2", "pooled"]
                .iter()
                .zip(found)
            {
                assert_close(
                    &what(part),
                    &found,
                    &golden[&format!("{name}.{part}")],
                    2e-5,
                );
            }
        }
        if let Some(decoded) = golden.get(&format!("{name}.decoded")) {
            let (.., height, width) = golden["latent"].dims4().expect("latents");
            let found = model
                .vae()
                .decode(&numbers(&golden["latent"]), height, width);
            assert_close(&what("decoded"), &found.expect("decoded"), decoded, 2e-5);
        }
        let expected = &manifest["cases"]["detection"][name];
        let settings = SamplingSettings::default();
        let (config, because) = model.schedule_config(&settings).expect("a schedule");
        let prediction = serde_json::to_value(config.prediction_type).expect("a name");
        assert_eq!(prediction, expected["prediction"], "{name}: {because}");
        assert_eq!(
            Value::from(config.zero_snr),
            expected["zero_snr"],
            "{name}: {because}"
        );
    }
}

#[test]
fn a_vae_file_of_the_original_layout_takes_the_place_of_the_models_own() {
    let files = SdxlFiles {
        vae: Some(file("vae/other.safetensors")),
        ..base()
    };
    let (model, golden) = (sdxl(&files), golden("vae"));
    let (.., height, width) = golden["latent"].dims4().expect("latents");
    let decoded = model
        .vae()
        .decode(&numbers(&golden["latent"]), height, width);
    assert_close(
        "decoded",
        &decoded.expect("decoded"),
        &golden["decoded"],
        2e-5,
    );
    let (.., height, width) = golden["image"].dims4().expect("an image");
    let encoded = model
        .vae()
        .encode(&numbers(&golden["image"]), height, width);
    let encoded = encoded.expect("encoded");
    assert_close("mean", &encoded.mean, &golden["mean"], 2e-5);
    assert_close("logvar", &encoded.logvar, &golden["logvar"], 2e-5);
}

#[test]
fn loras_of_every_format_are_merged_as_they_were_trained() {
    let (manifest, golden, inputs) = (manifest(), golden("lora"), golden("single"));
    let prompts = &strings(&manifest["cases"]["prompts"])[..1];
    let cases = manifest["cases"]["lora_cases"].as_array().expect("cases");
    assert!(cases.len() > 15);
    for case in cases {
        let id = case["id"].as_str().expect("an id");
        let files = SdxlFiles {
            loras: loras(&case["files"]),
            ..base()
        };
        let [one, two, pooled] = encode(&texts(&files), prompts, 16, first_width());
        let found = [
            ("unet", predict(&sdxl(&files), &inputs)),
            ("penultimate_1", one),
            ("penultimate_2", two),
            ("pooled", pooled),
        ];
        for (part, found) in found {
            let own = golden.get(&format!("{id}.{part}"));
            let expected = own.unwrap_or_else(|| &golden[&format!("base.{part}")]);
            assert_close(&format!("{id} {part}"), &found, expected, 3e-5);
        }
    }
}

#[test]
fn the_order_of_loras_does_not_show_and_text_encoders_may_stay_plain() {
    let manifest = manifest();
    let cases = manifest["cases"]["lora_cases"].as_array().expect("cases");
    let files = &cases.last().expect("several")["files"];
    let prompts = &strings(&manifest["cases"]["prompts"])[..1];
    let encoded = |files: &SdxlFiles| encode(&texts(files), prompts, 77, first_width());
    let mut several = SdxlFiles {
        loras: loras(files),
        ..base()
    };
    let inputs = golden("single");
    let (unet, text) = (predict(&sdxl(&several), &inputs), encoded(&several));
    several.loras.reverse();
    assert_eq!(predict(&sdxl(&several), &inputs), unet);
    assert_eq!(encoded(&several), text);
    several.plain_texts = true;
    assert_eq!(encoded(&several), encoded(&base()));
    assert_eq!(predict(&sdxl(&several), &inputs), unet);
}

#[test]
fn inversions_are_words_of_prompts() {
    let (manifest, golden) = (manifest(), golden("textual_inversion"));
    let cases = manifest["cases"]["textual_inversions"]
        .as_array()
        .expect("cases");
    let inversion = |case: &Value| Inversion {
        file: file(&format!(
            "textual-inversion/{}.safetensors",
            case["file"].as_str().expect("a name")
        )),
        token: case["token"].as_str().expect("a word").to_owned(),
    };
    let files = SdxlFiles {
        inversions: cases.iter().map(inversion).collect(),
        ..base()
    };
    let encoders = texts(&files);
    let prompts = strings(&manifest["cases"]["textual_inversion_prompts"]);
    let mut ids = [Vec::new(), Vec::new()];
    for prompt in &prompts {
        let encoded = encoders.encode_prompt(prompt).expect("encoded");
        for (all, row) in ids.iter_mut().zip(encoded.ids) {
            all.extend(row.into_iter().map(|id| id as f32));
        }
    }
    assert_close("ids_1", &ids[0], &golden["ids_1"], 0.0);
    assert_close("ids_2", &ids[1], &golden["ids_2"], 0.0);
    let found = encode(&encoders, &prompts, 77, first_width());
    for (part, found) in ["penultimate_1", "penultimate_2", "pooled"]
        .iter()
        .zip(found)
    {
        assert_close(part, &found, &golden[*part], 2e-5);
    }
}

#[test]
fn other_files_are_refused_by_name() {
    let manifest = manifest();
    let refusals = manifest["refusals"].as_object().expect("refusals");
    assert!(refusals.len() > 30);
    for (name, words) in refusals {
        let path = file(&format!("refuse/{name}"));
        let mut files = base();
        if name.starts_with("lora-") && !name.starts_with("lora-as") {
            files.loras = vec![Lora {
                file: path,
                strength: 1.0,
            }];
        } else if name.starts_with("embedding-") {
            files.inversions = vec![Inversion::of_file(&path)];
        } else {
            files.file = Some(path);
        }
        let error = TextEncoders::load_files(&files).map(drop);
        let error = error.and_then(|()| Sdxl::load_files(&files).map(drop));
        let text = error.expect_err(name).to_string();
        assert!(text.contains(name.as_str()), "{text}");
        assert!(text.lines().count() <= 11, "{text}");
        for word in strings(words) {
            let (text, word) = (text.to_lowercase(), word.to_lowercase());
            assert!(text.contains(&word), "{name}: no {word} in: {text}");
        }
    }
}

#[test]
fn zero_terminal_snr_schedules_match() {
    let golden = golden("zero_snr");
    let path = fixture("model/scheduler/scheduler_config.json");
    for kind in ["ddim", "euler"] {
        for spacing in ["trailing", "leading"] {
            let text = std::fs::read_to_string(&path).expect("a file");
            let mut json: Value = serde_json::from_str(&text).expect("JSON");
            json["prediction_type"] = "v_prediction".into();
            json["rescale_betas_zero_snr"] = true.into();
            json["timestep_spacing"] = spacing.into();
            let json = JsonFile::built_in(&path, &json.to_string()).expect("JSON");
            let kind_of = Some(kind.parse().expect("a scheduler"));
            let config = SchedulerConfig::read(&json, kind_of).expect("a configuration");
            for steps in [1, 4, 6, 20, 100] {
                let schedule = Schedule::new(config.clone(), steps).expect("a schedule");
                let found: Vec<f32> = schedule.timesteps().iter().map(|t| *t as f32).collect();
                let key = format!("{kind}.{spacing}.{steps}.timesteps");
                assert_close(&key, &found, &golden[&key], 0.0);
            }
            let schedule = Schedule::new(config, 6).expect("a schedule");
            let key = format!("{kind}.alphas_cumprod");
            assert_close(&key, schedule.alphas_cumprod(), &golden[&key], 1e-6);
            steps_match(&schedule, &golden, &format!("{kind}.{spacing}.6"));
        }
    }
}

/// The replayed outputs of the goldens, without a U-Net.
fn steps_match(schedule: &Schedule, golden: &Golden, id: &str) {
    let states = &golden[&format!("{id}.states")];
    let state = |i: usize| numbers(&states.get(i).expect("a state"));
    let mut latents = numbers(&golden["noise"]);
    let sigma = schedule.init_noise_sigma();
    latents.iter_mut().for_each(|x| *x *= sigma);
    for (ours, theirs) in latents.iter().zip(state(0)) {
        assert!(
            (ours / theirs - 1.0).abs() < 1e-4,
            "{id}: starts at {ours}, not {theirs}"
        );
    }
    let mut kept = StepState::default();
    for i in 0..schedule.timesteps().len() {
        let output = numbers(&golden[&format!("model_output.{i}")]);
        schedule
            .step(i, &mut latents, &output, &mut kept, &mut |_| Ok(()))
            .expect("a step");
        let worst = largest_difference(&latents, &state(i + 1));
        assert!(worst <= 5e-3, "{id} step {i}: off by {worst}");
    }
}

#[test]
fn trajectories_of_variants_match() {
    let manifest = manifest();
    for case in manifest["cases"]["trajectories"].as_array().expect("cases") {
        let id = case["id"].as_str().expect("an id");
        let golden = golden(&format!("trajectory_{id}"));
        let mut files = case["single"].as_str().map_or_else(base, single);
        files.loras = loras(&case["loras"]);
        if case["other_vae"] == true {
            files.vae = Some(file("vae/other.safetensors"));
        }
        let trace = run(case, &files, &golden);
        let hot = id == "v_euler";
        let states = trace.floats("states").expect("recorded");
        let expected = numbers(&golden["states"]);
        let first = if hot { golden["noise"].elem_count() } else { 0 };
        let worst = largest_difference(&states[first..], &expected[first..]);
        let most = if hot { 1e-2 } else { 5e-4 };
        assert!(worst <= most, "{id} states: off by {worst}");
        assert_close(
            id,
            trace.floats("embeds").expect("recorded"),
            &golden["embeds"],
            3e-5,
        );
        let decoded = trace.floats("decoded").expect("recorded");
        assert_close(
            id,
            decoded,
            &golden["decoded"],
            if hot { 2e-2 } else { 5e-4 },
        );
    }
}

fn run(case: &Value, files: &SdxlFiles, golden: &Golden) -> Trace {
    let (encoders, model) = (texts(files), sdxl(files));
    let prompt = encoders.encode_prompt(case["prompt"].as_str().expect("a prompt"));
    let prompt = prompt.expect("encoded");
    let name = case["name"].as_str();
    let name = name.map(|name| encoders.encode_name(name).expect("a name"));
    let negative = match case["null"] == "zeros" {
        true => NegativePrompt::Zeros,
        false => NegativePrompt::Empty,
    };
    let negative = encoders.encode_negative(&negative).expect("encoded");
    let pair =
        |value: &Value| -> [u32; 2] { serde_json::from_value(value.clone()).expect("two numbers") };
    let target = pair(&case["target_size"]);
    let settings = SamplingSettings {
        scheduler: Some(
            case["scheduler"]
                .as_str()
                .expect("one")
                .parse()
                .expect("one"),
        ),
        steps: case["steps"].as_u64().expect("steps") as usize,
        guidance: case["guidance"].as_f64().expect("guidance") as f32,
        height: Some(target[0] as usize),
        width: Some(target[1] as usize),
        sizes: Some(SizeConditioning {
            original: pair(&case["original_size"]),
            crop: pair(&case["crop_top_left"]),
            target,
        }),
        steps_done: None,
    };
    let request = ImageRequest {
        prompt: &prompt,
        name: name.as_ref(),
        negative: &negative,
        noise: Noise::from(numbers(&golden["noise"].get(0).expect("noise"))),
    };
    let mut trace = Trace::default();
    model
        .generate(&[request], &settings, Some(&mut trace))
        .expect("an image");
    trace
}

#[test]
fn settings_speak_before_the_file() {
    let config = |prediction| {
        let files = SdxlFiles {
            prediction,
            ..single("v")
        };
        let model = sdxl(&files);
        let found = model.schedule_config(&SamplingSettings::default());
        found.map(|(config, because)| (config, because.to_owned()))
    };
    let (own, because) = config(PredictionSettings::default()).expect("a schedule");
    assert_eq!(own.timestep_spacing, TimestepSpacing::Trailing);
    assert!(because.contains("v_pred and ztsnr"), "{because}");
    let epsilon = PredictionSettings {
        prediction: Some(PredictionType::Epsilon),
        ..PredictionSettings::default()
    };
    let (found, because) = config(epsilon).expect("a schedule");
    assert_eq!(found.prediction_type, PredictionType::Epsilon);
    assert!(!found.zero_snr && because.contains("settings"), "{because}");
    let impossible = PredictionSettings {
        zero_terminal_snr: Some(true),
        ..epsilon
    };
    let error = config(impossible).expect_err("divided by zero").to_string();
    assert!(
        error.contains("zero_snr") && error.contains("epsilon"),
        "{error}"
    );
    let leading = PredictionSettings {
        timestep_spacing: Some(TimestepSpacing::Leading),
        ..PredictionSettings::default()
    };
    let (found, _) = config(leading).expect("a schedule");
    assert_eq!(found.timestep_spacing, TimestepSpacing::Leading);
}
