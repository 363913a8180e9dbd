//! A run in which all methods draw: the same people, prompts and seeds, and of another adapter only the adapter's images
//! again. The adapter and the PhotoMaker have random weights, for the embedded world's SDXL.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use laioncele_clip::VisionModel;
use laioncele_sdxl::{LoadOptions, UNet};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use serde_json::Value;

use crate::sandbox::stderr;
use crate::tables::Table;
use crate::test_run::TestRun;

const METHODS: [&str; 5] = [
    "laioncele",
    "sdxl-name",
    "ip-adapter",
    "ip-adapter-s0.5",
    "photomaker",
];

/// The image tower of the random PhotoMaker.
const VISION: &str = r#"{"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2,
"hidden_act": "quick_gelu", "patch_size": 56, "image_size": 224, "projection_dim": 48, "layer_norm_eps": 1e-5}"#;

/// Name and shape of each tensor.
type Shapes = Vec<(String, Vec<usize>)>;

/// Writes tensors of numbers between -scale and scale; `seed` gives others.
fn write_random(file: &Path, shapes: &Shapes, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let bytes: Vec<Vec<u8>> = (shapes.iter())
        .map(|(_, shape)| {
            let scale = (3.0 / *shape.last().expect("a dimension") as f32).sqrt();
            let numbers = (0..shape.iter().product()).map(|_| next() * scale);
            numbers.flat_map(f32::to_le_bytes).collect()
        })
        .collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a view");
        (name.as_str(), view)
    });
    serialize_to_file(views, None, file).expect("written");
}

fn unet() -> UNet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/sdxl-mini/unet");
    let options = LoadOptions {
        dry: true,
        ..LoadOptions::default()
    };
    UNet::load(&folder, &options).expect("the mini U-Net")
}

/// A base adapter of the second image encoder, whose embeddings have 80 numbers.
fn write_adapter(file: &Path, seed: u64) {
    let unet = unet();
    let context = unet.context_width();
    let mut shapes: Shapes = vec![
        ("image_proj.proj.weight".to_owned(), vec![4 * context, 80]),
        ("image_proj.proj.bias".to_owned(), vec![4 * context]),
        ("image_proj.norm.weight".to_owned(), vec![context]),
        ("image_proj.norm.bias".to_owned(), vec![context]),
    ];
    let mut attentions = unet.cross_attentions();
    // The files number the middle last.
    attentions.sort_by_key(|attention| attention.name.starts_with("mid_"));
    for (place, attention) in attentions.iter().enumerate() {
        for map in ["to_k_ip", "to_v_ip"] {
            let name = format!("ip_adapter.{}.{map}.weight", 2 * place + 1);
            shapes.push((name, vec![attention.channels, context]));
        }
    }
    write_random(file, &shapes, seed);
}

/// A PhotoMaker with the tower of [`VISION`] and a LoRA of one map.
fn write_photomaker(file: &Path, vision: &Path) {
    fs::create_dir_all(vision).expect("a folder");
    fs::write(vision.join("config.json"), VISION).expect("written");
    let unet = unet();
    let context = unet.context_width();
    // VISION's projection, which is as wide as the first text encoder.
    let second = context - 48;
    let tower = VisionModel::shapes(vision).expect("a tower");
    let named = |(name, shape): (String, Vec<usize>)| (format!("id_encoder.{name}"), shape);
    let mut shapes: Shapes = tower.into_iter().map(named).collect();
    let mut add = |name: &str, shape: &[usize]| shapes.push((name.to_owned(), shape.to_vec()));
    add("id_encoder.visual_projection_2.weight", &[second, 16]);
    for (mlp, input) in [("mlp1", 2 * context), ("mlp2", context)] {
        let name = format!("id_encoder.fuse_module.{mlp}");
        add(&format!("{name}.layernorm.weight"), &[input]);
        add(&format!("{name}.layernorm.bias"), &[input]);
        add(&format!("{name}.fc1.weight"), &[context, input]);
        add(&format!("{name}.fc1.bias"), &[context]);
        add(&format!("{name}.fc2.weight"), &[context, context]);
        add(&format!("{name}.fc2.bias"), &[context]);
    }
    add("id_encoder.fuse_module.layer_norm.weight", &[context]);
    add("id_encoder.fuse_module.layer_norm.bias", &[context]);
    let attention = &unet.cross_attentions()[0];
    let layer = format!("lora_weights.unet.{}.processor", attention.name);
    add(
        &format!("{layer}.to_q_lora.down.weight"),
        &[2, attention.channels],
    );
    add(
        &format!("{layer}.to_q_lora.up.weight"),
        &[attention.channels, 2],
    );
    write_random(file, &shapes, 7);
}

/// (method, person, prompt, index) → seed and image.
type Samples = BTreeMap<(String, String, String, u64), (u64, Vec<u8>)>;

fn samples(world: &TestRun) -> Samples {
    let mut samples = Samples::new();
    let mut folders = vec![world.join("output/tables/samples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                read_part(&path, &mut samples);
            }
        }
    }
    samples
}

fn read_part(path: &Path, samples: &mut Samples) {
    let table = Table::read(path, &[]);
    let columns = ["method", "person", "prompt"].map(|column| table.texts(column));
    let (indices, seeds) = (table.numbers("index"), table.numbers("seed"));
    let images = table.images("image");
    for row in 0..table.rows() {
        let [method, person, prompt] = columns.each_ref().map(|column| column[row].clone());
        let key = (method, person, prompt, indices[row]);
        samples.insert(key, (seeds[row], images[row].clone()));
    }
}

/// Steps with tasks to run, by the plan.
fn to_run(world: &TestRun) -> BTreeSet<String> {
    let plan = TestRun::json(world.command(&["plan", "--json"], "output"), 0);
    let steps = plan.as_array().expect("steps").iter();
    let steps = steps.filter(|step| step["to_run"].as_u64().is_some_and(|tasks| tasks > 0));
    let name = |step: &Value| step["step"].as_str().map(str::to_owned);
    steps.filter_map(name).collect()
}

#[test]
fn all_methods_draw_the_same_people_prompts_and_seeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    write_adapter(&world.join("adapter.safetensors"), 1);
    write_photomaker(&world.join("maker.safetensors"), &world.join("vision"));
    let methods = METHODS.map(|method| format!("{method:?}")).join(", ");
    let encoder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/sdxl-mini/image_encoder_2");
    let sections = format!(
        "[models.ip_adapter]\nfile = \"adapter.safetensors\"\nimage_encoder = {encoder:?}\n\
         [models.photomaker]\nfile = \"maker.safetensors\"\nvision = \"vision/config.json\"\n\
         [generate_samples]\nmethods = [{methods}]\n"
    );
    world.change_manifest("[generate_samples]\n", &sections);
    let before = samples(&world);
    let ended = world.run("output");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let drawn = samples(&world);
    assert!(
        before.iter().all(|(key, row)| drawn[key] == *row),
        "LaionCele's are as they were"
    );
    let of = |method: &str| {
        let rows = drawn.iter().filter(|((m, ..), _)| m == method);
        rows.map(|((_, person, prompt, index), row)| ((person, prompt, *index), row))
            .collect::<BTreeMap<_, _>>()
    };
    let ours = of("laioncele");
    assert!(!ours.is_empty() && !of("sdxl").is_empty());
    let mut images = BTreeSet::new();
    for method in METHODS {
        let theirs = of(method);
        assert!(theirs.keys().eq(ours.keys()), "{method}");
        for (key, (seed, image)) in &theirs {
            assert_eq!(*seed, ours[key].0, "{method} {key:?}");
            assert!(
                images.insert(image.clone()),
                "{method} {key:?} is another one's image"
            );
        }
    }

    // Another adapter draws its own images again, and what is measured of all of them.
    write_adapter(&world.join("adapter.safetensors"), 2);
    let steps = to_run(&world);
    assert!(steps.contains("sample-ip-adapter"), "{steps:?}");
    for step in ["generate-samples", "sample-sdxl-name", "sample-photomaker"] {
        assert!(!steps.contains(step), "{steps:?}");
    }
}
