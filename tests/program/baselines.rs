//! `generate --method`: what it computes against diffusers' IP-Adapter and TencentARC's PhotoMaker, and what it says of
//! what cannot be.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.to_string_lossy().into_owned()
}

fn tiny(path: &str) -> String {
    repository(&format!("models/clip/tests/fixtures/tiny-a/{path}"))
}

fn baseline(path: &str) -> String {
    repository(&format!("models/baselines/tests/fixtures/tiny-a/{path}"))
}

fn cases() -> Value {
    let text = fs::read_to_string(baseline("manifest.json")).expect("the manifest");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    manifest["cases"].clone()
}

fn picture(number: &Value) -> String {
    let names = fs::read_to_string(tiny("goldens/clip_vision_images.json")).expect("names");
    let names: Vec<String> = serde_json::from_str(&names).expect("JSON");
    let name = &names[number.as_u64().expect("a number") as usize];
    tiny(&format!("images/{name}.png"))
}

/// Name → numbers, of the types that goldens and traces have.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = fs::read(path).expect("a safetensors file");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensor = |(name, view): (String, TensorView<'_>)| (name, numbers(&view));
    file.tensors().into_iter().map(tensor).collect()
}

fn numbers(view: &TensorView<'_>) -> Vec<f64> {
    let four = || view.data().as_chunks::<4>().0.iter();
    match view.dtype() {
        Dtype::F32 => four().map(|b| f32::from_le_bytes(*b).into()).collect(),
        Dtype::I32 => four().map(|b| i32::from_le_bytes(*b).into()).collect(),
        Dtype::F64 => {
            let eight = view.data().as_chunks::<8>().0.iter();
            eight.map(|b| f64::from_le_bytes(*b)).collect()
        }
        other => panic!("{other:?} is not recorded"),
    }
}

fn assert_close(what: &str, ours: &[f64], golden: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), golden.len(), "{what}");
    let differences = ours.iter().zip(golden).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f64::max);
    assert!(
        worst <= tolerance,
        "{what}: off by {worst}, at most {tolerance}"
    );
}

/// Runs a case's trajectory with a trace, and compares it.
fn trace(case: &Value, prompts: &Value, method: &[&str]) -> BTreeMap<String, Vec<f64>> {
    let sandbox = Sandbox::new();
    let id = case["id"].as_str().expect("an id");
    let golden = baseline(&format!("goldens/trajectory_{id}.safetensors"));
    let number = |key: &str| case[key].to_string();
    let sizes =
        |key: &str| -> Vec<u64> { serde_json::from_value(case[key].clone()).expect("sizes") };
    let target = sizes("target_size");
    let original = match case["original_size"].is_null() {
        true => target.clone(),
        false => sizes("original_size"),
    };
    let time_ids = [&original[..], &[0, 0], &target].concat();
    let time_ids: Vec<String> = time_ids.iter().map(ToString::to_string).collect();
    let (steps, guidance, time_ids) = (number("steps"), number("guidance"), time_ids.join(","));
    let text = |key: &str| prompts[key].as_str().expect("text");
    let model = tiny("model");
    let mut arguments = vec![
        "generate",
        "--model",
        &model,
        "--prompt",
        text("prompt"),
        "--negative-prompt",
        text("negative_prompt"),
        "--scheduler",
        case["scheduler"].as_str().expect("a name"),
        "--steps",
        &steps,
        "--guidance",
        &guidance,
        "--time-ids",
        &time_ids,
        "--initial-latents",
        &golden,
        "--trace",
        "trace.safetensors",
        "--overwrite",
    ];
    arguments.extend(method);
    let ended = sandbox.run(&arguments);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let traced = tensors(&sandbox.join("trace.safetensors"));
    let golden = tensors(Path::new(&golden));
    for (name, tolerance) in [
        ("noise", 0.0),
        ("timesteps", 0.0),
        ("states", 5e-4),
        ("predictions", 5e-4),
        ("decoded", 5e-4),
    ] {
        if let Some(golden) = golden.get(name) {
            assert_close(&format!("{id} {name}"), &traced[name], golden, tolerance);
        }
    }
    traced
}

#[test]
fn ip_adapter_is_diffusers_own() {
    let (cases, golden) = (
        cases(),
        tensors(Path::new(&baseline("goldens/ip_adapter.safetensors"))),
    );
    let mut seen = 0;
    for case in cases["adapter_trajectories"].as_array().expect("cases") {
        let name = case["adapter"].as_str().expect("a name");
        let file = baseline(&format!("ip-adapter/{name}.safetensors"));
        let encoder = cases["adapters"][name]["encoder"]
            .as_str()
            .expect("an encoder");
        let (encoder, photo) = (tiny(encoder), picture(&case["picture"]));
        let scale = case["scale"].to_string();
        let method = [
            "--method",
            "ip-adapter",
            "--ip-adapter",
            &file,
            "--image-encoder",
            &encoder,
            "--photo",
            &photo,
            "--ip-scale",
            &scale,
        ];
        let traced = trace(case, case, &method);
        let all = &golden[&format!("{name}.tokens")];
        let one = traced["image_tokens"].len();
        let at = case["picture"].as_u64().expect("a number") as usize * one;
        assert_close("tokens", &traced["image_tokens"], &all[at..at + one], 2e-5);
        let null = &golden[&format!("{name}.null_tokens")];
        assert_close("null tokens", &traced["null_image_tokens"], null, 2e-5);
        seen += 1;
    }
    assert!(seen >= 2);
}

#[test]
fn photomaker_is_tencentarcs_own() {
    let (cases, golden) = (
        cases(),
        tensors(Path::new(&baseline("goldens/photomaker.safetensors"))),
    );
    let (file, vision) = (
        baseline("photomaker/v1.safetensors"),
        baseline("photomaker/vision.json"),
    );
    let trigger = cases["photomaker"]["trigger"].as_str().expect("a word");
    let mut seen = 0;
    for case in cases["photomaker_cases"].as_array().expect("cases") {
        let pictures = case["pictures"].as_array().expect("pictures");
        let photos: Vec<String> = pictures.iter().map(picture).collect();
        for trajectory in case["trajectories"].as_array().expect("trajectories") {
            let start = trajectory["start_merge_step"].to_string();
            let mut method = vec![
                "--method",
                "photomaker",
                "--photomaker",
                &file,
                "--photomaker-vision",
                &vision,
                "--trigger",
                trigger,
                "--start-merge-step",
                &start,
            ];
            for photo in &photos {
                method.extend(["--photo", photo.as_str()]);
            }
            let traced = trace(trajectory, case, &method);
            let key = case["id"].as_str().expect("an id");
            for (ours, theirs, tolerance) in [
                ("ids_1", "text_ids_1", 0.0),
                ("ids_2", "text_ids_2", 0.0),
                ("expanded_ids_1", "ids_1", 0.0),
                ("expanded_ids_2", "ids_2", 0.0),
                ("id_embeds", "id_embeds", 2e-5),
                ("fused", "fused", 2e-5),
                ("fused_pooled", "pooled", 2e-5),
                ("embeds", "text_embeds", 2e-5),
                ("pooled", "text_pooled", 2e-5),
                ("null_embeds", "null_embeds", 2e-5),
            ] {
                let golden = &golden[&format!("{key}.{theirs}")];
                assert_close(&format!("{key} {ours}"), &traced[ours], golden, tolerance);
            }
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

/// A small image of the tiny model by any method: its pixels. What the file says of itself differs between methods.
fn draw(sandbox: &Sandbox, method: &[&str]) -> Vec<u8> {
    let model = tiny("model");
    let mut arguments = vec![
        "generate",
        "--model",
        &model,
        "--steps",
        "2",
        "--width",
        "64",
        "--height",
        "64",
        "--seed",
        "5",
        "--prompt",
        "a woman on the beach",
        "--overwrite",
        "--json",
    ];
    arguments.extend(method);
    let ended = sandbox.run(&arguments);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let listed: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let file = listed[0]["file"].as_str().expect("a file");
    let image = image::open(sandbox.join(file)).expect("an image");
    image.into_rgb8().into_raw()
}

#[test]
fn all_methods_draw_from_the_same_noise() {
    let sandbox = Sandbox::new();
    let plain = draw(&sandbox, &[]);
    let named = draw(
        &sandbox,
        &["--method", "sdxl-name", "--name", "Mira Castellan"],
    );
    assert!(plain != named);
    assert_eq!(draw(&sandbox, &["--method", "laioncele"]), plain);
    let (file, encoder) = (baseline("ip-adapter/plus.safetensors"), tiny("clip-l"));
    let photo = tiny("images/portrait_rgb_upscaled.png");
    let adapter = [
        "--ip-adapter",
        &file,
        "--image-encoder",
        &encoder,
        "--photo",
        &photo,
    ];
    let with = |method: &str, more: &[&str]| {
        draw(
            &sandbox,
            &[&["--method", method], &adapter[..], more].concat(),
        )
    };
    assert_eq!(
        with("ip-adapter", &["--ip-scale", "0"]),
        plain,
        "a scale of 0 is the plain model"
    );
    assert_eq!(
        with("ip-adapter-s0.6", &[]),
        with("ip-adapter", &["--ip-scale", "0.6"])
    );
    let full = with("ip-adapter", &[]);
    assert!(full != plain && full != with("ip-adapter-s0.6", &[]));
    assert!(with("ip-adapter", &["--ip-square", "squeeze"]) != full);
    let (maker, vision) = (
        baseline("photomaker/v1.safetensors"),
        baseline("photomaker/vision.json"),
    );
    let maker = [
        "--method",
        "photomaker",
        "--photomaker",
        &maker,
        "--photomaker-vision",
        &vision,
        "--photo",
        &photo,
    ];
    let at = |step: &str| {
        draw(
            &sandbox,
            &[&maker[..], &["--start-merge-step", step]].concat(),
        )
    };
    assert!(at("-1") != at("0"));
    assert_eq!(at("5"), at("9"), "the person never joins");
    assert!(at("5") != plain, "but the LoRA does");
    let two = draw(
        &sandbox,
        &[&maker[..], &["--photo", &file_of(2), "--photos", "1"]].concat(),
    );
    assert_eq!(two, draw(&sandbox, &maker));
    let lora = repository("models/sdxl/tests/fixtures/variants/lora/kohya.safetensors");
    let with_lora = draw(&sandbox, &[&maker[..], &["--lora", &lora]].concat());
    assert!(
        with_lora != two,
        "the model's LoRA stays beside PhotoMaker's"
    );
}

fn file_of(number: u64) -> String {
    picture(&Value::from(number))
}

/// Runs what must fail; its exit code and what it says.
fn fails(arguments: &[&str]) -> (i32, String) {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(arguments);
    assert!(!ended.status.success());
    (ended.status.code().expect("a code"), stderr(&ended))
}

#[track_caller]
fn assert_fails(method: &[&str], code: i32, parts: &[&str]) {
    let model = tiny("model");
    let base = [
        "generate", "--model", &model, "--steps", "2", "--width", "64", "--height", "64",
    ];
    let (found, text) = fails(&[&base[..], method].concat());
    assert_eq!(found, code, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    assert!(
        text.lines().count() <= 14 && !text.contains("panicked"),
        "{text}"
    );
}

#[test]
fn wrong_arguments_are_named() {
    let photo = file_of(0);
    let (file, encoder) = (baseline("ip-adapter/base.safetensors"), tiny("clip-g"));
    let adapter = |more: &[&'static str]| -> Vec<String> {
        let all = [
            "--method",
            "ip-adapter",
            "--ip-adapter",
            &file,
            "--image-encoder",
            &encoder,
        ];
        all.iter().chain(more).map(ToString::to_string).collect()
    };
    let check = |arguments: Vec<String>, code, parts: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_fails(&arguments, code, parts);
    };
    check(adapter(&[]), 2, &["needs --photo"]);
    for scale in ["nan", "inf", "-inf"] {
        let mut all = adapter(&["--photo", "x.png", "--ip-scale"]);
        all.push(scale.to_owned());
        check(all, 2, &["--ip-scale", "finite"]);
    }
    check(adapter(&["--photo", "nowhere.png"]), 3, &["nowhere.png"]);
    check(
        adapter(&["--photo", "x.png", "--trigger", "img"]),
        2,
        &["--trigger is for --method photomaker"],
    );
    assert_fails(
        &["--method", "ip-adaptor"],
        2,
        &["is no method", "photomaker"],
    );
    assert_fails(&["--method", "ip-adapter-snan"], 2, &["finite"]);
    assert_fails(&["--method", "sdxl-name"], 2, &["needs --name"]);
    assert_fails(
        &["--method", "photomaker", "--photo", &photo],
        2,
        &["needs --photomaker"],
    );
    assert_fails(
        &[
            "--method",
            "sdxl-name",
            "--name",
            "Mira",
            "--prompt",
            "a cat",
        ],
        2,
        &["\"a cat\"", "person, man, woman"],
    );
    // A huge scale leaves the finite numbers, and says so.
    let mut huge = adapter(&["--photo"]);
    huge.extend([photo, "--ip-scale".to_owned(), "1e300".to_owned()]);
    check(huge, 3, &["not finite"]);
}

#[test]
fn wrong_files_are_named() {
    let (photo, encoder) = (file_of(0), tiny("clip-g"));
    let adapter = |file: &str, code, parts: &[&str]| {
        let all = [
            "--method",
            "ip-adapter",
            "--ip-adapter",
            file,
            "--image-encoder",
            &encoder,
            "--photo",
            &photo,
        ];
        assert_fails(&all, code, parts);
    };
    adapter(
        &baseline("ip-adapter/base.bin"),
        3,
        &["pickled", "weights_only=True", "base.safetensors"],
    );
    adapter(
        &baseline("photomaker/v1.safetensors"),
        3,
        &["no IP-Adapter", "PhotoMaker"],
    );
    adapter("nowhere.safetensors", 3, &["nowhere.safetensors"]);
    adapter(
        &baseline("ip-adapter/plus.safetensors"),
        3,
        &["hidden states of 32", "clip-g"],
    );
    let maker = |file: &str, more: &[&str], code, parts: &[&str]| {
        let all = [
            "--method",
            "photomaker",
            "--photomaker",
            file,
            "--photo",
            &photo,
        ];
        assert_fails(&[&all[..], more].concat(), code, parts);
    };
    let file = baseline("photomaker/v1.safetensors");
    // The fixture's tower is not the official one.
    maker(
        &file,
        &[],
        3,
        &["does not fit", "expected [1024", "differ in all"],
    );
    let vision = baseline("photomaker/vision.json");
    let vision = ["--photomaker-vision", &vision];
    maker(
        &file,
        &[&vision[..], &["--prompt", "a cat img and a dog img"]].concat(),
        2,
        &["2 times"],
    );
    maker(
        &file,
        &[&vision[..], &["--prompt", "img, a cat"]].concat(),
        2,
        &["begins with"],
    );
    maker(
        &file,
        &[&vision[..], &["--prompt", "a cat"]].concat(),
        2,
        &["\"a cat\"", "photomaker"],
    );
    maker(
        &file,
        &[&vision[..], &["--photo-crop", "face"]].concat(),
        2,
        &["[models.face]", "whole"],
    );
}

/// With a manifest: files, scales and face networks are its own.
#[test]
fn a_manifest_names_the_files() {
    let sandbox = Sandbox::with_manifest(&manifest_of_tiny()).with_runtime();
    let photo = file_of(1);
    let arguments = |more: &[&str]| -> Vec<String> {
        let all = [
            "generate",
            "--manifest",
            "manifest.toml",
            "--steps",
            "1",
            "--overwrite",
            "--json",
        ];
        all.iter().chain(more).map(ToString::to_string).collect()
    };
    let run = |more: &[&str]| {
        let all = arguments(more);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        sandbox.run(&all)
    };
    for method in [
        &["name:Mira Castellan", "--method", "sdxl-name"][..],
        &[&photo, "--method", "ip-adapter"],
        &[&photo, "--method", "photomaker"],
    ] {
        let ended = run(method);
        assert!(ended.status.success(), "{}", stderr(&ended));
        assert!(stdout(&ended).contains("prompt-00-seed-0.png"));
    }
    // Nobody is in the fixture's pictures.
    let ended = run(&[&photo, "--method", "ip-adapter", "--photo-crop", "face"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        stderr(&ended).contains("no face found"),
        "{}",
        stderr(&ended)
    );
    let ended = run(&["name:Mira", "--method", "ip-adapter"]);
    assert!(
        stderr(&ended).contains("needs a photo"),
        "{}",
        stderr(&ended)
    );
    let ended = run(&[&photo, "--method", "sdxl-name"]);
    assert!(
        stderr(&ended).contains("needs a name"),
        "{}",
        stderr(&ended)
    );
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml"]);
    let told = stdout(&ended) + &stderr(&ended);
    assert!(
        told.contains("image tokens of hidden states of 32"),
        "{told}"
    );
    assert!(told.contains("V1, photos as vectors of 32 + 40"), "{told}");
}

/// The frame's manifest over the tiny SDXL, with both baselines.
fn manifest_of_tiny() -> String {
    let frame = FRAME.replace(
        "folder = \"mini/sdxl-mini\"",
        &format!("folder = {:?}", tiny("model")),
    );
    let frame = frame.replace("name_channels = 128", "name_channels = 72");
    format!(
        "{frame}width = 64\nheight = 64\n[models.ip_adapter]\nfile = {:?}\nimage_encoder = {:?}\n\
         [models.photomaker]\nfile = {:?}\nvision = {:?}\n",
        baseline("ip-adapter/plus.safetensors"),
        tiny("clip-l"),
        baseline("photomaker/v1.safetensors"),
        baseline("photomaker/vision.json"),
    )
}
