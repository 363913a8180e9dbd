//! Preprocessed bytes and image embeddings against Pillow's and transformers' own.

use crate::common::{assert_close, fixture, golden, numbers};
use image::RgbImage;
use laioncele_clip::{ImageEncoder, ImageEncoders, TextModel, flatten_over_white};
use laioncele_nn::LoadOptions;

fn names() -> Vec<String> {
    let text =
        std::fs::read_to_string(fixture("goldens/clip_vision_images.json")).expect("the order");
    serde_json::from_str(&text).expect("JSON")
}

fn image(name: &str) -> RgbImage {
    flatten_over_white(&image::open(fixture(&format!("images/{name}.png"))).expect("an image"))
}

#[test]
fn preprocessing_is_exact() {
    let encoder = ImageEncoder::load(&fixture("clip-l"), &LoadOptions::default()).expect("a tower");
    for name in names() {
        let expected = image::open(fixture(&format!("goldens/preprocessed/224.{name}.png")))
            .expect("a golden")
            .to_rgb8();
        let ours = encoder.preprocessor().crop(&image(&name)).expect("cropped");
        assert_eq!(ours.as_raw(), expected.as_raw(), "{name}");
    }
    let golden = golden("clip_vision");
    let pixels = encoder
        .preprocessor()
        .preprocess(&image(&names()[0]))
        .expect("pixels");
    let every_8th = (0..3 * 28 * 28).map(|i| {
        let (c, y, x) = (i / 784, i / 28 % 28 * 8, i % 28 * 8);
        pixels[(c * 224 + y) * 224 + x]
    });
    assert_close(
        "pixel values",
        &every_8th.collect::<Vec<_>>(),
        &golden["clip-l.pixel_values.0"],
        0.0,
    );
}

#[test]
fn image_embeddings_match() {
    let golden = golden("clip_vision");
    let encoders = ImageEncoders::load(
        &fixture("clip-l"),
        &fixture("clip-g"),
        &LoadOptions::default(),
    )
    .expect("two towers");
    assert_eq!(encoders.width(), 24 + 56);
    let images: Vec<RgbImage> = names().iter().map(|name| image(name)).collect();
    let features = encoders.features(&images).expect("features").concat();
    assert_close("features", &features, &golden["features"], 2e-5);
    for (tower, key) in encoders.towers().iter().zip(["clip-l", "clip-g"]) {
        let states = tower
            .model()
            .forward(&tower.preprocessor().preprocess(&images[0]).expect("pixels"))
            .expect("states");
        for (i, state) in states.hidden_states.iter().enumerate() {
            let what = format!("{key}.hidden_states.{i}.first_image_tokens_0_3");
            let tokens = state
                .narrow(1, 0, 4)
                .and_then(|t| t.squeeze(0))
                .expect("tokens");
            assert_close(&what, &numbers(&tokens), &golden[&what], 2e-5);
        }
    }
}

#[test]
fn a_whole_clip_folder_gives_both_towers() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(
            fixture("variants/clip-l-whole").join(name),
            folder.path().join(name),
        )
        .expect("copied");
    }
    let preprocessor = "preprocessor_config.json";
    std::fs::copy(
        fixture("clip-l").join(preprocessor),
        folder.path().join(preprocessor),
    )
    .expect("copied");
    let whole =
        ImageEncoder::load(folder.path(), &LoadOptions::default()).expect("the image tower");
    let alone =
        ImageEncoder::load(&fixture("clip-l"), &LoadOptions::default()).expect("the image tower");
    let image = image(&names()[0]);
    assert_eq!(
        whole.image_embeds(&image).expect("embeds"),
        alone.image_embeds(&image).expect("embeds")
    );
    let text =
        TextModel::load(folder.path(), true, &LoadOptions::default()).expect("the text tower");
    assert_eq!(text.pooled_width(), 24);
}

#[test]
fn a_very_long_image_needs_no_more_memory_than_its_crop() {
    let encoder = ImageEncoder::load(&fixture("clip-l"), &LoadOptions::default()).expect("a tower");
    // Resized whole, this would have 224 × 13,440,000 pixels.
    let long = RgbImage::from_fn(60_000, 1, |x, _| image::Rgb([(x % 251) as u8; 3]));
    let crop = encoder.preprocessor().crop(&long).expect("cropped");
    assert_eq!(crop.dimensions(), (224, 224));
    assert!(encoder.preprocessor().crop(&RgbImage::new(0, 5)).is_err());
}
