//! 16 bits on the processor: within twice what diffusers' own U-Net differs by.

use std::sync::Arc;

use candle_core::DType;
use laioncele_sdxl::{LoadOptions, UNet};
use serde_json::json;

use crate::common::{fixture, largest_difference, manifest, numbers};
use crate::setup::{adapter, cases, conditioning, golden, picture, predict};

#[test]
fn predictions_in_16_bits_match() {
    let (cases, golden) = (cases(), golden("ip_adapter"));
    for (dtype, rounding) in [(DType::BF16, "bfloat16"), (DType::F16, "float16")] {
        let options = LoadOptions {
            dtype,
            ..LoadOptions::default()
        };
        let unet = UNet::load(&fixture("model/unet"), &options).expect("a U-Net");
        let cost = &manifest()["half_precision_minus_float32"][rounding]["unet output"];
        let tolerance = 2.0 * cost.as_f64().expect("a number") as f32;
        for name in ["base", "plus"] {
            let adapter = adapter(name, &cases["adapters"][name], &unet);
            let seen = adapter.attention(&[picture(&json!(0))], 1.0);
            let seen = Arc::new(seen.expect("an attention"));
            let pooled = numbers(&golden["text_embeds"]);
            let rows = conditioning(&unet, &golden, &numbers(&golden["context"]), &pooled);
            let rows = unet.see(rows, &seen, 1).expect("it fits");
            let output = predict(&unet, &golden, &rows);
            let worst = largest_difference(&output, &numbers(&golden[&format!("{name}.unet.1.0")]));
            assert!(
                worst <= tolerance,
                "{rounding} {name}: {worst} above {tolerance}"
            );
        }
    }
}
