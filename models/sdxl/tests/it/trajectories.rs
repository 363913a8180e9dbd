//! Whole runs against diffusers' own pipeline.

use laioncele_sdxl::{LoadOptions, Sdxl, SdxlOptions, TextEncoders};

use crate::checks;
use crate::common::fixture;

#[test]
fn trajectories_match() {
    let encoders =
        TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders");
    let sdxl = Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL");
    checks::trajectories(&encoders, &sdxl);
}
