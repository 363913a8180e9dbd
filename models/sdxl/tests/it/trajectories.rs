//! Whole runs against diffusers' own pipeline, through the path that the program takes.

use laioncele_sdxl::{
    ImageRequest, LoadOptions, Noise, NullText, SamplingSettings, Sdxl, SdxlOptions,
    SizeConditioning, TextEncoders, Trace,
};

use crate::common::{assert_close, fixture, golden, manifest, numbers};

fn pair(value: &serde_json::Value) -> [u32; 2] {
    serde_json::from_value(value.clone()).expect("two numbers")
}

#[test]
fn trajectories_match() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    for case in manifest()["cases"]["trajectories"]
        .as_array()
        .expect("cases")
    {
        let id = case["id"].as_str().expect("an id");
        let golden = golden(&format!("trajectory_{id}"));
        let prompt = encoders
            .encode_prompt(case["prompt"].as_str().expect("a prompt"))
            .expect("encoded");
        let name = case["name"]
            .as_str()
            .map(|name| encoders.encode_name(name).expect("a name"));
        let null = if case["null"] == "zeros" {
            NullText::Zeros
        } else {
            NullText::Empty
        };
        let null = encoders.encode_null(&null).expect("a null text");
        let noise = golden["noise"].clone();
        let requests: Vec<ImageRequest> = (0..noise.dim(0).expect("pictures"))
            .map(|i| ImageRequest {
                prompt: &prompt,
                name: name.as_ref(),
                null: &null,
                noise: Noise::from(numbers(&noise.get(i).expect("noise"))),
            })
            .collect();
        let target = pair(&case["target_size"]);
        let settings = SamplingSettings {
            scheduler: Some(
                case["scheduler"]
                    .as_str()
                    .expect("a scheduler")
                    .parse()
                    .expect("a scheduler"),
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
        };
        let mut trace = Trace::default();
        let images = sdxl
            .generate(&requests, &settings, Some(&mut trace))
            .expect("pictures");
        for (key, tolerance) in [
            ("embeds", 2e-5),
            ("pooled", 2e-5),
            ("null_embeds", 2e-5),
            ("null_pooled", 2e-5),
            ("noise", 0.0),
            ("time_ids", 0.0),
            ("first_output", 5e-5),
            ("predictions", 5e-4),
            ("states", 5e-4),
            ("decoded", 1e-4),
        ] {
            assert_eq!(trace.tensors()[key].shape, golden[key].dims(), "{id} {key}");
            assert_close(
                &format!("{id} {key}"),
                trace.floats(key).expect("recorded"),
                &golden[key],
                tolerance,
            );
        }
        for (i, ours) in images.iter().enumerate() {
            let expected = image::open(fixture(&format!("goldens/trajectory_{id}.{i}.png")))
                .expect("a golden")
                .to_rgb8();
            let unequal: Vec<u8> = ours
                .as_raw()
                .iter()
                .zip(expected.as_raw())
                .map(|(a, b)| a.abs_diff(*b))
                .filter(|d| *d > 0)
                .collect();
            assert!(
                unequal.iter().all(|d| *d <= 1),
                "{id} {i}: more than one level"
            );
            assert!(
                unequal.len() * 1000 <= ours.as_raw().len(),
                "{id} {i}: {} bytes differ",
                unequal.len()
            );
        }
        let path = tempfile::tempdir()
            .expect("a folder")
            .path()
            .join("trace.safetensors");
        assert!(trace.write(&path).is_err(), "the folder is gone");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.safetensors");
        trace.write(&path).expect("written");
        let written =
            candle_core::safetensors::load(&path, &candle_core::Device::Cpu).expect("readable");
        assert_close(
            "written states",
            trace.floats("states").expect("recorded"),
            &written["states"],
            0.0,
        );
        assert_eq!(
            written["timesteps"].to_vec1::<f64>().expect("timesteps"),
            golden["timesteps"].to_vec1::<f64>().expect("timesteps")
        );
    }
}
