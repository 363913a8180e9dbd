//! Seconds per portrait: `cargo bench -p laioncele-sdxl -- MODEL_FOLDER [IMAGES] [STEPS]`. One
//! image after another first (`RAYON_NUM_THREADS` sets the threads of each), then several at once,
//! each on a thread of its own, as the stages generate them.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use laioncele_sdxl::{
    ImageRequest, LoadOptions, NegativePrompt, Noise, SamplingSettings, Sdxl, SdxlOptions,
    TextEncoders, in_parallel,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let mini = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../manifests/mini/sdxl-mini"
    );
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| mini.into()));
    let images: u64 = arguments.next().map_or(Ok(10), |count| count.parse())?;
    let steps: usize = arguments.next().map_or(Ok(20), |count| count.parse())?;

    let start = Instant::now();
    let encoders = TextEncoders::load(&folder, &LoadOptions::default())?;
    let sdxl = Sdxl::load(&folder, &SdxlOptions::default())?;
    println!("load {:.3} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let prompt = encoders.encode_prompt("a portrait of a person")?;
    let name = encoders.encode_name("Maria Johnson")?;
    let negative = encoders.encode_negative(&NegativePrompt::Model)?;
    println!("three texts {:.4} s", start.elapsed().as_secs_f64());

    let settings = SamplingSettings {
        steps,
        guidance: 4.0,
        ..SamplingSettings::default()
    };
    let mut seconds: Vec<f64> = Vec::new();
    for seed in 0..images {
        let request = ImageRequest {
            prompt: &prompt,
            name: Some(&name),
            negative: &negative,
            noise: Noise::Seed(seed),
        };
        let start = Instant::now();
        sdxl.generate(&[request], &settings, None)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let latents = Noise::Seed(1).sample(sdxl.vae().channels() * 16 * 16)?;
    let start = Instant::now();
    sdxl.vae().decode(&latents, 16, 16)?;
    let decode = start.elapsed().as_secs_f64();
    println!(
        "one image of {steps} steps: best {:.3} s, median {:.3} s; of it decoding 16 x 16 latents {decode:.3} s",
        seconds.first().copied().unwrap_or(f64::NAN),
        seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN),
    );
    for threads in [1, 2, 4] {
        let seeds: Vec<u64> = (0..images).collect();
        let work = |seed: &u64| {
            let request = ImageRequest {
                prompt: &prompt,
                name: Some(&name),
                negative: &negative,
                noise: Noise::Seed(*seed),
            };
            sdxl.generate(&[request], &settings, None)
        };
        let start = Instant::now();
        in_parallel(threads, &seeds, work, |_, generated| generated.map(drop))?;
        let each = start.elapsed().as_secs_f64() / images as f64;
        println!("{threads} at once: {each:.3} s per image");
    }
    Ok(())
}
