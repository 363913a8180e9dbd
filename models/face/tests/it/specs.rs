//! Networks by their specs: tiny SCRFD, YuNet and recognizer graphs against what InsightFace's
//! SCRFD, OpenCV's FaceDetectorYN and NumPy made of them (`tools/record-face/record_specs.py`);
//! tensors that a file does not have; and images with fifty faces, or small ones in large images.

use std::path::PathBuf;

use image::{Rgb, RgbImage, imageops};
use laioncele_face::{Detection, FaceError, FaceFiles, Search, cosine};
use serde::Deserialize;

use crate::common::{TestResult, fixture, load, read_image, shipped};

#[derive(Deserialize)]
struct Recorded {
    scrfd: Vec<Seen>,
    yunet: Vec<Seen>,
    embedder: Embedded,
}

#[derive(Debug, Deserialize)]
struct Seen {
    bbox: [f32; 4],
    landmarks: [[f32; 2]; 5],
    score: f32,
}

#[derive(Deserialize)]
struct Embedded {
    landmarks: [[f32; 2]; 5],
    vector: Vec<f32>,
}

fn recorded() -> Result<Recorded, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&std::fs::read(fixture(
        "specs.json",
    ))?)?)
}

/// Writes a spec and gives its path.
fn spec(folder: &tempfile::TempDir, text: &str) -> std::io::Result<Option<PathBuf>> {
    let path = folder.path().join("spec.toml");
    std::fs::write(&path, text)?;
    Ok(Some(path))
}

impl From<Detection> for Seen {
    fn from(found: Detection) -> Self {
        Self {
            bbox: found.unclipped,
            landmarks: found.landmarks,
            score: found.score,
        }
    }
}

fn near(a: &Seen, b: &Seen) -> bool {
    let marks = a.landmarks.as_flattened().iter();
    let marks = marks.zip(b.landmarks.as_flattened());
    let mut pairs = a.bbox.iter().zip(&b.bbox).chain(marks);
    pairs.all(|(a, b)| (a - b).abs() <= 0.5) && (a.score - b.score).abs() <= 0.005
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |r: &[f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let shared = side(0) * side(1);
    shared / (area(a) + area(b) - shared)
}

/// Each of both sides has its counterpart, but for those whose score, or overlap with a better one,
/// is so near to the limit that rounding decides (OpenCV suppresses boxes of whole pixels,
/// InsightFace adds a pixel to each side), and those that such a one suppresses.
fn agree(found: &[Seen], expected: &[Seen], [min_score, max_overlap]: [f32; 2]) {
    let lone = |one: &[Seen], other: &[Seen]| -> Vec<usize> {
        let alone = |k: &usize| !other.iter().any(|f| near(f, &one[*k]));
        (0..one.len()).filter(alone).collect()
    };
    let (new, missing) = (lone(found, expected), lone(expected, found));
    assert!(new.len() <= 5 && missing.len() <= 5, "{new:?} {missing:?}");
    let new = new.iter().map(|k| &found[*k]);
    let lone: Vec<&Seen> = new.chain(missing.iter().map(|k| &expected[*k])).collect();
    for face in &lone {
        let better = |f: &&Seen| f.score > face.score;
        let shared = |f: &Seen| overlap(&f.bbox, &face.bbox);
        let mut all = found.iter().chain(expected).filter(better);
        let close = all.any(|f| (shared(f) - max_overlap).abs() < 0.05);
        let mut lone = lone.iter().copied().filter(better);
        let follows = lone.any(|f| shared(f) > max_overlap);
        assert!(
            close || follows || face.score < min_score + 0.005,
            "{face:?} is on one side"
        );
    }
    assert!(expected.len() >= 80);
}

fn seen_by(network: &str, text: &str) -> Result<Vec<Seen>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let files = FaceFiles {
        detector: fixture(network),
        detector_spec: spec(&folder, text)?,
        ..shipped()
    };
    let image = read_image("two.png")?;
    let found = load(&files)?.detector_output(&image)?;
    Ok(found.into_iter().map(Seen::from).collect())
}

#[test]
fn scrfd_output_equals_insightface() -> TestResult {
    let found = seen_by("scrfd.onnx", "decoder = \"scrfd\"\n")?;
    agree(&found, &recorded()?.scrfd, [0.5, 0.4]);
    Ok(())
}

#[test]
fn yunet_output_equals_opencv() -> TestResult {
    let found = seen_by("yunet.onnx", "decoder = \"yunet\"\n")?;
    agree(&found, &recorded()?.yunet, [0.7, 0.3]);
    Ok(())
}

const EMBEDDER: &str = "side = 96\nchannels = \"rgb\"\nmean = [123.7, 116.3, 103.5]\nscale = [58.4, 57.1, 57.4]\n\
                        input = \"data\"\noutput = \"fc1\"\n";

#[test]
fn recognizer_spec_decides_channels_scale_and_tensors() -> TestResult {
    let folder = tempfile::tempdir()?;
    let files = |spec| FaceFiles {
        recognizer: fixture("embedder.onnx"),
        recognizer_spec: spec,
        ..shipped()
    };
    let nets = load(&files(spec(&folder, EMBEDDER)?))?;
    let Embedded { landmarks, vector } = recorded()?.embedder;
    let image = read_image("two.png")?;
    assert_eq!(nets.width(), vector.len());
    let similarity = cosine(&nets.embed(&image, &landmarks)?, &vector);
    assert!(similarity > 0.9999, "{similarity}");
    // The channels' order and the numbers of the spec matter.
    let other = EMBEDDER.replace("rgb", "bgr").replace("58.4", "8.4");
    let other = load(&files(spec(&folder, &other)?))?;
    let similarity = cosine(&other.embed(&image, &landmarks)?, &vector);
    assert!(similarity < 0.99, "{similarity}");
    Ok(())
}

/// Against float32: 16 bits of a random network's sums.
#[test]
fn half_precision_recognizer_equals_single_within_its_bits() -> TestResult {
    let folder = tempfile::tempdir()?;
    let files = FaceFiles {
        recognizer: fixture("embedder-f16.onnx"),
        recognizer_spec: spec(&folder, EMBEDDER)?,
        ..shipped()
    };
    let Embedded { landmarks, vector } = recorded()?.embedder;
    let image = read_image("two.png")?;
    let similarity = cosine(&load(&files)?.embed(&image, &landmarks)?, &vector);
    assert!(similarity > 0.9999, "{similarity}");
    Ok(())
}

#[test]
fn written_spec_of_the_shipped_networks_changes_nothing() -> TestResult {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let detector = "decoder = \"retinaface\"\nchannels = \"bgr\"\nmean = [104, 117, 123]\nscale = 1\ninput = \"input\"\n\
                    outputs = [\"landmarks\", \"loc\", \"conf\"]\n";
    let recognizer = "side = 112\nmean = 127\nscale = 128\nmetric = \"cosine\"\n";
    let files = FaceFiles {
        detector_spec: spec(&first, detector)?,
        recognizer_spec: spec(&second, recognizer)?,
        ..shipped()
    };
    let image = read_image("two.png")?;
    assert_eq!(
        load(&files)?.faces(&image)?,
        load(&shipped())?.faces(&image)?
    );
    Ok(())
}

#[test]
fn load_names_a_missing_tensor_and_those_present() -> TestResult {
    let folder = tempfile::tempdir()?;
    for (text, name) in [
        ("input = \"data\"\n", "data"),
        ("output = \"fc1\"\n", "fc1"),
    ] {
        let files = FaceFiles {
            recognizer_spec: spec(&folder, text)?,
            ..shipped()
        };
        let error = load(&files).err().ok_or("it loads")?;
        assert!(matches!(error, FaceError::WrongName { .. }), "{error}");
        let text = error.to_string();
        for word in [
            name,
            "faceplugin",
            "`input` f32 [1, 3, 112, 112]",
            "`output` f32 [1, 512]",
        ] {
            assert!(text.contains(word), "no {word} in: {text}");
        }
    }
    let files = FaceFiles {
        recognizer_spec: spec(&folder, "side = 96\n")?,
        ..shipped()
    };
    let text = load(&files).err().ok_or("it loads")?.to_string();
    assert!(
        text.contains("side = 96") && text.contains("112, 112"),
        "{text}"
    );
    let files = FaceFiles {
        detector_spec: spec(&folder, "decoder = \"scrfd\"\n")?,
        ..shipped()
    };
    let text = load(&files).err().ok_or("it loads")?.to_string();
    assert!(text.contains("SCRFD") && text.contains("`loc`"), "{text}");
    Ok(())
}

#[test]
fn crowd_of_fifty_has_fifty_faces() -> TestResult {
    let mut crowd = RgbImage::new(1280, 640);
    for (k, (x, y)) in (0..10)
        .flat_map(|x| (0..5).map(move |y| (x, y)))
        .enumerate()
    {
        let name = ["first-a.png", "first-b.png", "second-a.png"][k % 3];
        let face = read_image(name)?;
        imageops::replace(&mut crowd, &face, x * 128, y * 128);
    }
    let nets = load(&shipped())?;
    let found = nets.faces_by(&crowd, Search::EverySize)?;
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|f| f.vector.len() == nets.width()));
    Ok(())
}

/// A face of about 40 pixels in a photo of 2,000: lost at one size, found by the search over all.
#[test]
fn every_size_finds_a_small_face_in_a_large_photo() -> TestResult {
    let face = read_image("first-a.png")?;
    let small = imageops::resize(&face, 66, 66, imageops::FilterType::Triangle);
    let mut photo = RgbImage::from_pixel(2000, 1500, Rgb([120, 130, 140]));
    imageops::replace(&mut photo, &small, 1400, 900);
    let nets = load(&shipped())?;
    assert!(nets.detect_by(&photo, Search::WithMargin)?.is_empty());
    let found = nets.faces_by(&photo, Search::EverySize)?;
    assert_eq!(found.len(), 1);
    let [x0, y0, x1, y1] = found[0].detection.bbox;
    assert!(
        x0 > 1400.0 && y0 > 900.0 && x1 < 1466.0 && y1 < 966.0,
        "{found:?}"
    );
    let near = nets.faces(&face)?;
    let similarity = cosine(&near[0].vector, &found[0].vector);
    assert!(similarity > 0.6, "{similarity}");
    Ok(())
}

/// Where the first look finds a face, the search over all sizes changes nothing.
#[test]
fn first_look_decides_bit_for_bit_where_it_finds_a_face() -> TestResult {
    let nets = load(&shipped())?;
    for name in [
        "first-a.png",
        "first-photo.png",
        "second-photo.png",
        "two.png",
        "close-up.png",
    ] {
        let image = read_image(name)?;
        let first = nets.detect_by(&image, Search::Once)?;
        let margin = nets.faces(&image)?;
        assert_eq!(nets.faces_by(&image, Search::EverySize)?, margin);
        if !first.is_empty() {
            let boxes = margin.into_iter().map(|f| f.detection);
            assert_eq!(boxes.collect::<Vec<_>>(), first);
        }
    }
    Ok(())
}
