//! A whole training in this process, with the embedded world's models.

use std::path::Path;

use laioncele_core::{Manifest, fail_point};
use laioncele_finetune_run::{Card, FinetuneError, Progress, Settings, Stored, Training, What};
use laioncele_inference::testing::{memorizing_encoder, mini_folder, mini_manifest, name_rows};

const SECTION: &str = "[finetune]\nsteps = 4\nbatch = 2\nrank = 2\nresolution = 64\n\
                       learning_rate = 1e-3\ncheckpoint_every = 2\nnull_text_probability = 0.3\n\
                       noise_offset = 0.1\nflip = true\ncrop = \"random\"\n";

/// Photos of three invented people, a picture without a face, a file that is no picture, and a name
/// encoder.
fn world(root: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, bytes).expect("written");
    };
    let people = ["Ada Brook", "Bea Crane", "Cyd Drake"];
    for (number, person) in people.iter().enumerate() {
        let photo = mini_folder().join(format!("references/unseen-0{number}.jpg"));
        put(
            &format!("photos/{person}/1.jpg"),
            &std::fs::read(photo).expect("a photo"),
        );
    }
    put(
        "photos/Ada Brook/1.txt",
        b"Ada Brook smiles at the camera\n",
    );
    put("photos/Bea Crane/2.jpg", b"no picture");
    let gray = image::RgbImage::from_pixel(80, 64, image::Rgb([127, 127, 127]));
    gray.save(root.join("photos/Ada Brook/2.png"))
        .expect("a picture");
    let files = memorizing_encoder(&name_rows().expect("names")[0])
        .to_bytes()
        .expect("an encoder");
    put("encoder/encoder.json", &files.config);
    put("encoder/encoder.safetensors", &files.weights);
}

fn manifest() -> Manifest {
    Manifest::parse(Path::new("/run/manifest.toml"), &mini_manifest(SECTION)).expect("a manifest")
}

fn training(root: &Path, what: What, into: &str) -> Training {
    Training {
        what,
        settings: Settings::from_manifest(&manifest()).expect("settings"),
        dataset: root.join("photos"),
        encoder: root.join("encoder"),
        into: root.join(into),
        webui: true,
        stored: Stored::F32,
        same_person: 0.35,
    }
}

fn run(training: &Training) -> Result<Card, FinetuneError> {
    training.run(&manifest(), &mut |_| {})
}

/// One test, since a place can be armed once in a process.
#[test]
fn a_training_that_was_interrupted_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    world(root);
    let card = run(&training(root, What::Lora, "straight")).expect("a card");
    assert_eq!((card.people, card.photos, card.steps), (3, 3, 4));
    assert_eq!(card.skipped.values().sum::<usize>(), 2);
    assert_eq!(card.captions_with_name, 1);
    let fail = || Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    // The straight one came before: its four steps are not counted.
    assert!(fail_point::arm("step.finetune", 3, Box::new(fail)));
    let mut cut = training(root, What::Lora, "cut");
    let error = run(&cut).expect_err("interrupted before its fourth step");
    assert!(matches!(error, FinetuneError::Core(_)), "{error}");
    // The place acts from now on, so that what is left goes on without reaching a step: up to the
    // checkpoint of step two there is nothing to do.
    cut.settings.steps = 2;
    let mut resumed = Vec::new();
    let card = cut.run(&manifest(), &mut |progress| {
        if let Progress::Resumed(step) = progress {
            resumed.push(step);
        }
    });
    assert_eq!(card.expect("a card").steps, 2);
    assert_eq!(resumed, [2]);
    let checkpoint = "checkpoints/step-00000002.safetensors";
    let read = |into: &str| std::fs::read(root.join(into).join(checkpoint)).expect("a checkpoint");
    assert!(read("straight") == read("cut"));
}
