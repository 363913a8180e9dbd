//! A published encoder that was trained on faces: it needs networks that find them, and draws as its run.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use super::{SETTINGS, done, mini, pixels, references, refused, repository, run_in};
use crate::sandbox::stderr;
use crate::test_run::TestRun;

fn finished(ended: std::io::Result<Output>) {
    let ended = ended.expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
}

#[test]
fn an_encoder_of_faces_draws_as_its_run() {
    let (folder, place) = (tempfile::tempdir(), tempfile::tempdir());
    let (folder, place) = (folder.expect("a folder"), place.expect("a folder"));
    let world = TestRun::copied(folder.path(), 1);
    world.change_manifest("crop = \"whole\"", "crop = \"face\"");
    let mut command = world.command(&["run", "--json", "--stage", "..train-encoder"], "output");
    finished(command.output());
    let mut command = world.alone(&["encoder", "export"], "output");
    finished(command.arg(place.path().join("encoder")).output());
    let config = fs::read_to_string(place.path().join("encoder/encoder.json"));
    let config: serde_json::Value =
        serde_json::from_str(&config.expect("a configuration")).expect("JSON");
    assert_eq!(config["crop"]["part"], "face");

    let photo = references()[0].to_string_lossy().into_owned();
    let (output, model) = (world.join("output").to_string_lossy().into_owned(), mini());
    let by_run = ["generate", &photo, "--output", &output, "--into", "run"];
    let settings = ["--steps", "4", "--guidance", "2.5"];
    done(place.path(), &[&by_run[..], &settings].concat());
    let alone = [
        "generate",
        &photo,
        "--encoder",
        "encoder",
        "--model",
        &model,
    ];
    let alone = [&alone[..], &SETTINGS, &["--into"]].concat();
    refused(
        place.path(),
        &[&alone[..], &["without"]].concat(),
        2,
        &["was trained on faces", "--face-detector", "[models.face]"],
    );
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let face = |file: &str| text(repository("manifests/mini/face").join(file));
    let detector = face("retinaface_mobilenet025_dynamic.onnx");
    let recognizer = face("faceplugin_fr_feature_512.onnx");
    let networks = [
        "--face-detector",
        &detector,
        "--face-recognizer",
        &recognizer,
    ];
    let manifest = text(world.join("mini.toml"));
    let by_manifest = ["--manifest", &manifest];
    for (into, more) in [("files", &networks[..]), ("manifest", &by_manifest[..])] {
        done(place.path(), &[&alone[..], &[into], more].concat());
        let image = |into: &str| place.path().join(into).join("prompt-00-seed-0.png");
        assert_eq!(pixels(&image("run")), pixels(&image(into)), "{into}");
    }
    // A photo without a face is nobody's.
    let gray = place.path().join("gray.png");
    let flat = image::RgbImage::from_pixel(128, 128, image::Rgb([127, 127, 127]));
    flat.save(&gray).expect("saved");
    let mut arguments = [&alone[..], &["nobody"], &networks[..]].concat();
    let gray = text(gray);
    arguments[1] = &gray;
    let ended = run_in(place.path(), &arguments);
    assert!(!ended.status.success());
    assert!(stderr(&ended).contains("face"), "{}", stderr(&ended));
}
