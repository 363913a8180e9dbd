//! Damaged and foreign folders end in an error that names the thing.

use std::fs;
use std::path::Path;

use laioncele_nn::Error as LoadError;
use laioncele_sdxl::{
    Error, ImageRequest, LoadOptions, NameTensor, NegativePrompt, Noise, SamplingSettings, Sdxl,
    SdxlOptions, TextEncoders, UNet, Vae,
};
use tempfile::TempDir;

use crate::common::fixture;

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
    {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

fn copy(part: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(&fixture(part), folder.path());
    folder
}

#[allow(clippy::needless_pass_by_value, reason = "callers pass literals")]
fn edit(folder: &TempDir, file: &str, change: serde_json::Value) {
    let path = folder.path().join(file);
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("a file")).expect("JSON");
    config
        .as_object_mut()
        .expect("an object")
        .extend(change.as_object().expect("an object").clone());
    fs::write(path, config.to_string()).expect("written");
}

fn unsupported_key(error: &Error) -> &str {
    match error {
        Error::Load(LoadError::Unsupported { key, .. }) => key,
        other => panic!("another error: {other}"),
    }
}

#[test]
fn load_rejects_other_pipelines_by_class() {
    for (change, word) in [
        (
            serde_json::json!({"_class_name": "FluxPipeline"}),
            "FluxPipeline",
        ),
        (
            serde_json::json!({"_class_name": "StableDiffusionPipeline"}),
            "StableDiffusionPipeline",
        ),
        (
            serde_json::json!({"text_encoder_2": [null, null]}),
            "text_encoder_2",
        ),
    ] {
        let folder = copy("model");
        edit(&folder, "model_index.json", change);
        let error = Sdxl::load(folder.path(), &SdxlOptions::default()).expect_err("foreign");
        assert!(
            matches!(error, Error::NotSdxl { .. }) && error.to_string().contains(word),
            "{error}"
        );
        assert!(TextEncoders::load(folder.path(), &LoadOptions::default()).is_err());
    }
}

#[test]
fn unet_load_rejects_unsupported_values_by_key() {
    for (change, key) in [
        // Stable Diffusion 1.5 has no added condition.
        (
            serde_json::json!({"addition_embed_type": null}),
            "addition_embed_type",
        ),
        (
            serde_json::json!({"time_cond_proj_dim": 256}),
            "time_cond_proj_dim",
        ),
        (
            serde_json::json!({"class_embed_type": "timestep"}),
            "class_embed_type",
        ),
        (
            serde_json::json!({"down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"]}),
            "down_block_types",
        ),
        (
            serde_json::json!({"attention_head_dim": [2, 5, 4]}),
            "block_out_channels",
        ),
        (
            serde_json::json!({"norm_num_groups": 0}),
            "block_out_channels",
        ),
        (
            serde_json::json!({"block_out_channels": []}),
            "block_out_channels",
        ),
        (
            serde_json::json!({"layers_per_block": [2, 2]}),
            "layers_per_block",
        ),
        (
            serde_json::json!({"projection_class_embeddings_input_dim": 96}),
            "projection_class_embeddings_input_dim",
        ),
    ] {
        let folder = copy("model/unet");
        edit(&folder, "config.json", change);
        let error = UNet::load(folder.path(), &LoadOptions::default()).expect_err(key);
        assert_eq!(unsupported_key(&error), key, "{error}");
    }
    let folder = copy("model/unet");
    edit(
        &folder,
        "config.json",
        serde_json::json!({"addition_embed_type_num_heads": 1, "an_unknown_key": 3}),
    );
    assert!(UNet::load(folder.path(), &LoadOptions::default()).is_ok());
}

#[test]
fn vae_load_rejects_unsupported_values_by_key() {
    for (change, key) in [
        (serde_json::json!({"shift_factor": 0.1159}), "shift_factor"),
        (serde_json::json!({"latents_mean": [0.0]}), "latents_mean"),
        (
            serde_json::json!({"up_block_types": ["UpDecoderBlock2D"]}),
            "up_block_types",
        ),
        (serde_json::json!({"scaling_factor": 0.0}), "scaling_factor"),
    ] {
        let folder = copy("model/vae");
        edit(&folder, "config.json", change);
        let error = Vae::load(folder.path(), &LoadOptions::default()).expect_err(key);
        assert_eq!(unsupported_key(&error), key, "{error}");
    }
    let half = LoadOptions {
        dtype: candle_core::DType::F16,
        ..LoadOptions::default()
    };
    let error = Vae::load(&fixture("model/vae"), &half).expect_err("overflows");
    assert_eq!(unsupported_key(&error), "force_upcast");
}

#[test]
fn unet_load_lists_all_differing_tensors() {
    let folder = copy("model/unet");
    edit(
        &folder,
        "config.json",
        serde_json::json!({"transformer_layers_per_block": [1, 2, 4], "cross_attention_dim": 71}),
    );
    let error = UNet::load(folder.path(), &LoadOptions::default()).expect_err("does not fit");
    let Error::Load(LoadError::Tensors { report, .. }) = &error else {
        panic!("another error: {error}")
    };
    assert!(
        report
            .missing
            .iter()
            .any(|(name, _)| name.starts_with("mid_block.attentions.0.transformer_blocks.3."))
    );
    let key = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    assert!(
        report
            .misshapen
            .contains(&(key.to_string(), vec![24, 71], vec![24, 72])),
        "{report}"
    );
}

#[test]
fn generate_rejects_inputs_out_of_range() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders.encode_prompt("a person").expect("encoded");
    let settings = SamplingSettings {
        steps: 1,
        ..SamplingSettings::default()
    };
    let request = ImageRequest {
        prompt: &prompt,
        name: None,
        negative: &prompt,
        noise: Noise::Seed(0),
    };
    let generate = |request: &ImageRequest<'_>, settings: &SamplingSettings| {
        sdxl.generate(std::slice::from_ref(request), settings, None)
    };
    let narrow = NameTensor::new(vec![0.0; 8 * 71], 71).expect("a name");
    assert!(NameTensor::new(vec![0.0; 7 * 72], 72).is_err());
    assert!(matches!(
        generate(
            &ImageRequest {
                name: Some(&narrow),
                ..request.clone()
            },
            &settings
        ),
        Err(Error::Size { .. })
    ));
    let short = Noise::from(vec![0.0; 3]);
    assert!(matches!(
        generate(
            &ImageRequest {
                noise: short,
                ..request.clone()
            },
            &settings
        ),
        Err(Error::Size { .. })
    ));
    let odd = SamplingSettings {
        width: Some(100),
        ..settings.clone()
    };
    assert!(matches!(
        generate(&request, &odd),
        Err(Error::Setting {
            setting: "width",
            ..
        })
    ));
    assert!(matches!(
        generate(
            &request,
            &SamplingSettings {
                steps: 0,
                ..settings.clone()
            }
        ),
        Err(Error::Setting { .. })
    ));
    assert!(matches!(
        generate(
            &request,
            &SamplingSettings {
                guidance: f32::NAN,
                ..settings.clone()
            }
        ),
        Err(Error::Setting { .. })
    ));
    let small = SamplingSettings {
        width: Some(64),
        height: Some(64),
        ..settings
    };
    let broken = encoders
        .encode_negative(&NegativePrompt::Zeros)
        .expect("encoded");
    let mut infinite = prompt.clone();
    infinite.embeds[100] = f32::INFINITY;
    let request = ImageRequest {
        prompt: &infinite,
        negative: &broken,
        ..request
    };
    assert!(matches!(
        generate(&request, &small),
        Err(Error::NotFinite { .. })
    ));
    assert!(
        "pndm"
            .parse::<laioncele_sdxl::SchedulerKind>()
            .expect_err("unknown")
            .to_string()
            .contains("dpmpp_2m")
    );
}

#[test]
fn unet_load_names_truncated_files() {
    let folder = copy("model/unet");
    let path = folder.path().join("diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&path).expect("weights");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let error = UNet::load(folder.path(), &LoadOptions::default()).expect_err("cut off");
    assert!(
        matches!(&error, Error::Load(LoadError::Safetensors { path: found, .. }) if *found == path),
        "{error}"
    );
}
