//! `laioncele faces`: a JSON object per image; and two images compared.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("models/face/tests/fixtures").join(name)
}

/// A sandbox with these of the face crate's images.
fn with_pictures(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::with_manifest(FRAME);
    for name in names {
        fs::copy(fixture(name), sandbox.join(name)).expect("an image");
    }
    sandbox
}

fn faces(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = sandbox.command(&["faces"]);
    command.args(arguments).args(["-m", "manifest.toml"]);
    let suffix = std::env::consts::DLL_SUFFIX;
    let library = root.join(format!(".onnxruntime/libonnxruntime{suffix}"));
    command.env("ORT_DYLIB_PATH", library);
    command.output().expect("the program")
}

fn lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("JSON");
    text.lines().map(parse).collect()
}

#[test]
fn each_picture_has_its_line_with_what_the_reference_found() {
    let names = ["two.png", "nobody.png", "first-a.png"];
    let sandbox = with_pictures(&names);
    let mut given = names.to_vec();
    given.push("--embed");
    let ended = faces(&sandbox, &given);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let recorded = fs::read_to_string(fixture("faces.json")).expect("recorded faces");
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    let found = lines(&stdout(&ended));
    assert_eq!(found.len(), names.len());
    for (line, name) in found.iter().zip(names) {
        assert_eq!(line["image"], name);
        let (seen, expected) = (&line["faces"], recorded[name].as_array().expect("faces"));
        assert_eq!(
            seen.as_array().map(Vec::len),
            Some(expected.len()),
            "{line}"
        );
        for (face, expected) in seen.as_array().into_iter().flatten().zip(expected) {
            let corner = |face: &Value, key: &str| face[key][0].as_f64().expect("a number");
            assert!((corner(face, "box") - corner(expected, "bbox")).abs() < 0.5);
            assert_eq!(face["embedding"].as_array().map(Vec::len), Some(512));
            assert_eq!(face["landmarks"].as_array().map(Vec::len), Some(5));
            let male = expected["male"].as_f64().expect("a number");
            let word = match male {
                m if m >= 0.8 => "man",
                m if m <= 0.2 => "woman",
                _ => "person",
            };
            assert_eq!(face["gender_guess"], word);
        }
    }
    let bare = faces(&sandbox, &["first-a.png"]);
    assert!(
        lines(&stdout(&bare))[0]["faces"][0]
            .get("embedding")
            .is_none()
    );
}

/// A runtime as old as 1.10, as far as the loader looks at it.
const OLD: &str = r#"
    #[repr(C)]
    pub struct Base {
        api: extern "C" fn(u32) -> usize,
        version: extern "C" fn() -> *const u8,
    }
    extern "C" fn api(_: u32) -> usize {
        0
    }
    extern "C" fn version() -> *const u8 {
        b"1.10.0\0".as_ptr()
    }
    static BASE: Base = Base { api, version };
    #[unsafe(no_mangle)]
    pub extern "C" fn OrtGetApiBase() -> *const Base {
        &BASE
    }
"#;

#[test]
fn a_missing_wrong_or_old_runtime_library_says_how_it_comes() {
    let sandbox = with_pictures(&["first-a.png"]);
    sandbox.write("words.so", "not a library");
    sandbox.write("old.rs", OLD);
    let mut compiler = std::process::Command::new("rustc");
    compiler.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]);
    compiler
        .arg(sandbox.join("old.so"))
        .arg(sandbox.join("old.rs"));
    assert!(compiler.status().expect("a compiler").success());
    for (library, words) in [
        ("none.so", &["none.so", "is no file"][..]),
        ("words.so", &["words.so"]),
        ("old.so", &["old.so", "1.10.0", "1.22"]),
    ] {
        let mut command = sandbox.command(&["faces", "first-a.png", "-m", "manifest.toml"]);
        command.env("ORT_DYLIB_PATH", sandbox.join(library));
        let ended = command.output().expect("the program");
        let text = stderr(&ended);
        assert_eq!(ended.status.code(), Some(3), "{text}");
        for word in words.iter().chain(&["make onnxruntime"]) {
            assert!(text.contains(word), "no {word} in: {text}");
        }
    }
}

#[test]
fn two_pictures_are_compared() {
    let sandbox = with_pictures(&["first-a.png", "first-b.png", "second-a.png", "nobody.png"]);
    let compare = |arguments: &[&str]| {
        let mut all = vec!["compare"];
        all.extend(arguments);
        faces(&sandbox, &all)
    };
    let same = compare(&["first-a.png", "first-b.png", "--threshold", "0.7"]);
    assert!(
        stdout(&same).starts_with("one person: similarity 0."),
        "{same:?}"
    );
    let other = compare(&[
        "first-a.png",
        "second-a.png",
        "--threshold",
        "0.7",
        "--json",
    ]);
    let other: Value = serde_json::from_str(&stdout(&other)).expect("JSON");
    assert_eq!(
        (&other["same"], &other["threshold"]),
        (&false.into(), &0.7.into())
    );
    let itself = compare(&["first-a.png", "first-a.png", "--json"]);
    let itself: Value = serde_json::from_str(&stdout(&itself)).expect("JSON");
    assert_eq!(
        (&itself["same"], &itself["threshold"]),
        (&true.into(), &0.35.into())
    );
    assert!(itself["similarity"].as_f64().is_some_and(|s| s > 0.999));
    let nobody = compare(&["first-a.png", "nobody.png"]);
    assert_eq!(nobody.status.code(), Some(3));
    assert_eq!(stderr(&nobody), "error: nobody.png: no face was found\n");
    let far = compare(&["first-a.png", "first-b.png", "--threshold", "40"]);
    assert_eq!(far.status.code(), Some(2));
}

/// A close-up whose detector output has a larger, spurious box: `models/face/tests/it/close_ups.rs`.
#[test]
fn compare_of_a_close_up_says_one_person() {
    let sandbox = with_pictures(&[]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let portrait = image::open(root.join("manifests/mini/references/unseen-00.jpg"));
    let portrait = portrait.expect("a portrait").into_rgb8();
    portrait.save(sandbox.join("portrait.png")).expect("a file");
    let large = laioncele_image::resample(&portrait, 1448, 1280, laioncele_image::Filter::Lanczos);
    for (name, [x, y, width, height]) in [
        ("close.png", [376, 299, 695, 814]),
        ("closer.png", [434, 345, 579, 743]),
    ] {
        let close_up = image::imageops::crop_imm(&large, x, y, width, height).to_image();
        close_up.save(sandbox.join(name)).expect("a file");
        let ended = faces(
            &sandbox,
            &["compare", "portrait.png", name, "--threshold", "0.63"],
        );
        let said = stdout(&ended);
        assert!(
            said.starts_with("one person: similarity 0."),
            "{name}: {ended:?}"
        );
        assert!(!said.contains("faces:"), "{name}: {said}");
    }
}

/// What cannot be read has its line too, and the others are looked at.
#[test]
fn broken_images_are_named_and_the_others_go_on() {
    let sandbox = with_pictures(&["first-a.png"]);
    sandbox.write("words.jpg", "no image at all");
    let whole = fs::read(fixture("first-b.png")).expect("an image");
    fs::write(sandbox.join("cut.png"), &whole[..whole.len() / 2]).expect("a file");
    let ended = faces(
        &sandbox,
        &["words.jpg", "none.png", "cut.png", "first-a.png"],
    );
    assert_eq!(ended.status.code(), Some(3));
    let found = lines(&stdout(&ended));
    assert_eq!(found.len(), 4);
    assert!(
        found[..3].iter().all(|l| l["error"].is_string()),
        "{found:?}"
    );
    assert_eq!(found[3]["faces"].as_array().map(Vec::len), Some(1));
    assert!(
        stderr(&ended).contains("3 of 4 images"),
        "{}",
        stderr(&ended)
    );
}

/// A JPEG that claims to be of this size, which a decoder takes from two numbers of its header.
fn claiming(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(8, 8, image::Rgb([90, 120, 60]));
    let written = image.write_to(&mut bytes, image::ImageFormat::Jpeg);
    written.expect("a JPEG");
    let mut bytes = bytes.into_inner();
    let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]);
    let size = frame.expect("a frame header") + 5;
    bytes[size..size + 2].copy_from_slice(&height.to_be_bytes());
    bytes[size + 2..size + 4].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A size beyond the limit is refused by its header; thin and tiny images have no face.
#[test]
fn pictures_of_extreme_sizes_have_their_line() {
    let sandbox = with_pictures(&[]);
    fs::write(sandbox.join("vast.jpg"), claiming(20_000, 20_000)).expect("a file");
    for (name, width, height) in [("dot.png", 1, 1), ("line.jpg", 1, 10_000)] {
        let image = image::RgbImage::from_pixel(width, height, image::Rgb([200, 160, 140]));
        image.save(sandbox.join(name)).expect("an image");
    }
    let ended = faces(&sandbox, &["vast.jpg", "dot.png", "line.jpg"]);
    assert_eq!(ended.status.code(), Some(3), "{}", stderr(&ended));
    let found = lines(&stdout(&ended));
    let refused = found[0]["error"].as_str().expect("an error");
    assert!(
        refused.contains("20000 × 20000 pixels, more than 100000000"),
        "{refused}"
    );
    for line in &found[1..] {
        assert_eq!(line["faces"], serde_json::json!([]), "{line}");
    }
    assert_eq!(found[2]["height"], 10_000);
}

/// The library that `make onnxruntime` brings is one for the processor: a GPU that is insisted on is refused with the way
/// to one, and `auto` does without.
#[test]
fn a_gpu_is_used_only_where_the_library_has_one() {
    let sandbox = with_pictures(&["first-a.png"]);
    let on = |device: &str| {
        let line = format!("[models.face]\ndevice = \"{device}\"");
        sandbox.write("manifest.toml", FRAME.replace("[models.face]", &line));
        faces(&sandbox, &["first-a.png"])
    };
    let ended = on("cuda");
    assert_eq!(ended.status.code(), Some(3));
    let text = stderr(&ended);
    for word in ["CUDA", "ORT_DYLIB_PATH", "device = \"cpu\""] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
    let ended = on("auto");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(stdout(&ended), stdout(&on("cpu")));
    assert_eq!(on("tpu").status.code(), Some(2));
}
