//! Files, prompts and numbers that cannot be used: each with its reason.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_baselines::{AdapterPhotos, Error, IpAdapter, PhotoMaker, Square, TriggerPrompt};
use laioncele_clip::ImageEncoder;
use laioncele_sdxl::{LoadOptions, UNet};
use serde_json::json;

use crate::common::fixture;
use crate::setup::{adapter, baseline, cases, photomaker, picture, texts};

type Tensors = HashMap<String, Tensor>;

fn unet() -> UNet {
    UNet::load(&fixture("model/unet"), &LoadOptions::default()).expect("a U-Net")
}

fn tensors(path: &str) -> Tensors {
    candle_core::safetensors::load(baseline(path), &Device::Cpu).expect("tensors")
}

fn written(folder: &Path, tensors: &Tensors) -> PathBuf {
    let path = folder.join("changed.safetensors");
    candle_core::safetensors::save(tensors, &path).expect("written");
    path
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F16, &Device::Cpu).expect("zeros")
}

/// The error of an adapter whose tensors are those of `file` after `change`.
fn adapter_error(file: &str, change: impl FnOnce(&mut Tensors)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tensors = tensors(&format!("ip-adapter/{file}.safetensors"));
    change(&mut tensors);
    let path = written(folder.path(), &tensors);
    let error = IpAdapter::load(&path, &unet(), false).expect_err("a wrong file");
    error.to_string()
}

fn photomaker_error(change: impl FnOnce(&mut Tensors)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tensors = tensors("photomaker/v1.safetensors");
    change(&mut tensors);
    let path = written(folder.path(), &tensors);
    let vision = baseline("photomaker/vision.json");
    let widths = texts().widths();
    let maker = PhotoMaker::load(&path, Some(&vision), widths, &LoadOptions::default());
    match maker {
        Err(error) => error.to_string(),
        Ok(maker) => maker
            .merge_into(&mut unet())
            .expect_err("a wrong LoRA")
            .to_string(),
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    assert!(text.lines().count() <= 12, "too long: {text}");
}

#[test]
fn pickles_are_refused_with_the_way_to_convert() {
    let path = baseline("ip-adapter/base.bin");
    let error = IpAdapter::load(&path, &unet(), false).expect_err("a pickle");
    says(
        &error.to_string(),
        &[
            "base.bin",
            "any code",
            "weights_only=True",
            "base.safetensors",
            "{p}.{k}",
        ],
    );
    let maker = PhotoMaker::load(&path, None, [1, 1], &LoadOptions::default());
    assert!(matches!(maker, Err(Error::Pickle { .. })));
}

#[test]
fn files_of_other_kinds_are_named() {
    let load = |path: &Path| {
        let error = IpAdapter::load(path, &unet(), false).expect_err("another kind");
        error.to_string()
    };
    says(
        &load(&baseline("photomaker/v1.safetensors")),
        &["no IP-Adapter", "a PhotoMaker"],
    );
    says(
        &load(&fixture("model/unet/diffusion_pytorch_model.safetensors")),
        &["a U-Net"],
    );
    says(
        &load(Path::new("nowhere.safetensors")),
        &["cannot read nowhere"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let cut = folder.path().join("cut.safetensors");
    let bytes = std::fs::read(baseline("ip-adapter/base.safetensors")).expect("bytes");
    for end in [0, 5, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&cut, &bytes[..end]).expect("written");
        says(&load(&cut), &["cut.safetensors"]);
    }
    let maker = |path: &str| {
        let options = LoadOptions::default();
        let error = PhotoMaker::load(&baseline(path), None, [1, 1], &options);
        error.expect_err("another kind").to_string()
    };
    says(
        &maker("ip-adapter/plus.safetensors"),
        &["no PhotoMaker V1", "an IP-Adapter"],
    );
}

#[test]
fn adapters_for_other_models_and_of_other_kinds_are_named() {
    let context_of = |width: usize| {
        adapter_error("base", |tensors| {
            let keys = tensors
                .iter_mut()
                .filter(|(name, _)| name.contains("to_k_ip"));
            keys.for_each(|(_, t)| *t = zeros(&[t.dim(0).expect("rows"), width]));
        })
    };
    says(&context_of(768), &["Stable Diffusion 1", "768"]);
    says(&context_of(1024), &["Stable Diffusion 2", "1024"]);
    says(&context_of(7), &["another model", "of 7 numbers"]);
    let with = |name: &str, shape: &[usize]| {
        adapter_error("plus", |tensors| {
            tensors.insert(format!("image_proj.{name}"), zeros(shape));
        })
    };
    says(
        &with("perceiver_resampler.proj_in.weight", &[2, 2]),
        &["FaceID-plus"],
    );
    says(&with("proj.3.weight", &[2]), &["full-face"]);
    says(
        &with("proj.0.weight", &[2, 2]),
        &["FaceID adapter", "InsightFace"],
    );
    says(
        &with("layers.9.0.to_q.weight", &[64, 48]),
        &["layers.I has numbers up to 9"],
    );
    says(&with("latents", &[5, 48]), &["latents is [5, 48]"]);
    let bare = adapter_error("plus", |tensors| {
        tensors.retain(|name, _| !name.contains("latents"));
    });
    says(&bare, &["neither proj.weight (base) nor latents (plus)"]);
}

#[test]
fn tensors_that_do_not_fit_are_listed_briefly() {
    let missing = adapter_error("base", |tensors| {
        tensors
            .remove("ip_adapter.3.to_v_ip.weight")
            .expect("it is there");
    });
    says(&missing, &["3.to_v_ip.weight: expected [", "missing"]);
    let more = adapter_error("base", |tensors| {
        tensors.insert("ip_adapter.2.to_k_ip.weight".to_owned(), zeros(&[4, 4]));
    });
    says(
        &more,
        &["ip_adapter.2.to_k_ip.weight: not expected, found [4, 4]"],
    );
    let renumbered = adapter_error("base", |tensors| {
        let moved = tensors
            .drain()
            .map(|(name, t)| (name.replace("ip_adapter.", "ip_adapter.9"), t));
        *tensors = moved.collect();
    });
    says(&renumbered, &["more", "differ in all"]);
    let wide = photomaker_error(|tensors| {
        let name = "id_encoder.fuse_module.mlp2.fc1.weight";
        tensors.insert(name.to_owned(), zeros(&[3, 3]));
    });
    says(&wide, &["mlp2.fc1.weight: expected [", "found [3, 3]"]);
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    let nan = |shape: &[usize]| {
        let tensor = zeros(shape).to_dtype(DType::F32).expect("f32");
        (tensor + f64::NAN).expect("not numbers")
    };
    let error = adapter_error("base", |tensors| {
        let name = "image_proj.proj.bias";
        let shape = tensors[name].dims().to_vec();
        tensors.insert(name.to_owned(), nan(&shape));
    });
    says(&error, &["image_proj.proj.bias", "not finite"]);
    let cases = cases();
    let unet = unet();
    let adapter = adapter("base", &cases["adapters"]["base"], &unet);
    for scale in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = adapter.attention(&[picture(&json!(0))], scale);
        says(
            &error.expect_err("no number").to_string(),
            &["scale =", "finite"],
        );
    }
    assert!(matches!(adapter.tokens(&[]), Err(Error::NoPhoto)));
    assert!(matches!(photomaker().vectors(&[]), Err(Error::NoPhoto)));
    assert!(adapter.tokens(&[image::RgbImage::new(0, 5)]).is_err());
}

#[test]
fn an_encoder_that_does_not_fit_is_named() {
    let unet = unet();
    for (name, folder, parts) in [
        ("base", "clip-l", ["image embeddings", "clip-l"]),
        ("plus", "clip-g", ["hidden states", "clip-g"]),
    ] {
        let file = baseline(&format!("ip-adapter/{name}.safetensors"));
        let adapter = IpAdapter::load(&file, &unet, false).expect("an adapter");
        let encoder = ImageEncoder::load(&fixture(folder), &LoadOptions::default());
        let encoder = encoder.expect("an encoder");
        let error = AdapterPhotos::new(adapter, encoder, &fixture(folder), Square::Squeeze);
        says(&error.expect_err("another width").to_string(), &parts);
    }
    // Of the width of InsightFace's embeddings.
    let folder = tempfile::tempdir().expect("a folder");
    let mut instant = tensors("ip-adapter/plus.safetensors");
    let name = "image_proj.proj_in.weight";
    let rows = instant[name].dims()[0];
    instant.insert(name.to_owned(), zeros(&[rows, 512]));
    let adapter = IpAdapter::load(&written(folder.path(), &instant), &unet, false);
    let adapter = adapter.expect("an adapter");
    let encoder = ImageEncoder::load(&fixture("clip-l"), &LoadOptions::default());
    let encoder = encoder.expect("an encoder");
    let error = AdapterPhotos::new(adapter, encoder, &fixture("clip-l"), Square::Crop);
    says(
        &error.expect_err("another width").to_string(),
        &["InstantID"],
    );
}

#[test]
fn photomakers_of_other_kinds_are_named() {
    let second = photomaker_error(|tensors| {
        tensors.insert("id_encoder.qformer_perceiver.x".to_owned(), zeros(&[2]));
    });
    says(&second, &["PhotoMaker V2"]);
    let bare = photomaker_error(|tensors| tensors.retain(|name, _| !name.starts_with("lora_")));
    says(&bare, &["no LoRA"]);
    let foreign = photomaker_error(|tensors| {
        tensors.insert(
            "lora_weights.unet.conv_in.lora_A.weight".to_owned(),
            zeros(&[2, 2]),
        );
    });
    says(&foreign, &["unet.conv_in.lora_A.weight", "no attention's"]);
    let layer = "lora_weights.unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor";
    let half = photomaker_error(|tensors| {
        tensors
            .remove(&format!("{layer}.to_q_lora.up.weight"))
            .expect("it is there");
    });
    says(&half, &["attn1.to_q (down or up)", "missing"]);
    let wide = photomaker_error(|tensors| {
        tensors.insert(format!("{layer}.to_q_lora.up.weight"), zeros(&[5, 3]));
    });
    says(&wide, &["attn1.to_q (down, up)", "found ["]);
    let elsewhere = photomaker_error(|tensors| {
        let name = "lora_weights.unet.mid_block.attentions.7.transformer_blocks.0.attn1.to_q";
        tensors.insert(format!("{name}.lora_A.weight"), zeros(&[2, 2]));
    });
    says(&elsewhere, &["attentions.7", "not expected"]);
}

/// stable-diffusion.cpp's layout: all tensors side by side.
#[test]
fn the_flat_layout_is_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let flat = tensors("photomaker/v1.safetensors")
        .into_iter()
        .map(|(name, tensor)| {
            let name = name.strip_prefix("id_encoder.").unwrap_or(&name);
            (
                name.strip_prefix("lora_weights.")
                    .unwrap_or(name)
                    .to_owned(),
                tensor,
            )
        });
    let path = written(folder.path(), &flat.collect());
    let vision = baseline("photomaker/vision.json");
    let options = LoadOptions::default();
    let maker = PhotoMaker::load(&path, Some(&vision), texts().widths(), &options);
    let maker = maker.expect("a PhotoMaker");
    let photo = [picture(&json!(1))];
    let ours = photomaker().vectors(&photo).expect("vectors");
    assert_eq!(maker.vectors(&photo).expect("vectors"), ours);
    maker.merge_into(&mut unet()).expect("its LoRA");
}

#[test]
fn triggers_are_needed_once_behind_a_word() {
    let texts = texts();
    let split =
        |prompt: &str, photos| TriggerPrompt::new(texts.tokenizers(), prompt, "img", photos);
    let fails = |prompt: &str, photos, parts: &[&str]| {
        says(
            &split(prompt, photos).expect_err("wrong").to_string(),
            parts,
        );
    };
    fails(
        "a man in the snow",
        1,
        &["lacks the trigger word \"img\"", "a man img"],
    );
    fails("a man img and a woman img", 1, &["2 times"]);
    fails("img in the snow", 1, &["begins with"]);
    fails("  img in the snow", 1, &["begins with"]);
    fails("a man Img", 1, &["lacks"]);
    fails(&format!("{} img", "man ".repeat(90)), 1, &["no room"]);
    fails("a man img", 76, &["no room for 76 photos"]);
    let most = split("a man img", 75).expect("just enough");
    assert!(most.expanded[0].len() == 77 && most.first_row == 2);
    // Inside a word it counts too.
    let inside = split("a man imgur", 1).expect("a trigger");
    let apart = split("a man img ur", 1).expect("a trigger");
    assert_eq!(inside.expanded, apart.expanded);
    let empty = TriggerPrompt::new(texts.tokenizers(), "a man", " ", 1);
    says(&empty.expect_err("no word").to_string(), &["empty"]);
}
