//! The real networks on rendered images, against what `tools/record-face` recorded with OpenCV,
//! NumPy and Python's ONNX Runtime. Tolerances: boxes and landmarks 0.5 px, scores 0.01, embeddings
//! a cosine of 0.999.

use std::collections::BTreeMap;

use image::{Rgb, RgbImage};
use laioncele_face::{
    Detection, Face, FaceError, FaceFiles, FaceNets, FaceOptions, Search, cosine,
};
use serde::Deserialize;

use crate::common::{TestResult, embedded, fixture, load, read_image, shipped};

#[derive(Deserialize)]
struct Recorded {
    bbox: [f32; 4],
    landmarks: [[f32; 2]; 5],
    score: f32,
    vector: Vec<f32>,
    age: f32,
    male: f32,
}

fn files() -> FaceFiles {
    FaceFiles {
        gender: Some(embedded("face/face_api_age_gender.onnx")),
        ..shipped()
    }
}

fn nets() -> Result<FaceNets, FaceError> {
    load(&files())
}

fn near(found: &Detection, expected: &Recorded) -> bool {
    let pairs = found.unclipped.iter().zip(&expected.bbox);
    let marks = found
        .landmarks
        .as_flattened()
        .iter()
        .zip(expected.landmarks.as_flattened());
    pairs.chain(marks).all(|(a, b)| (a - b).abs() <= 0.5)
        && (found.score - expected.score).abs() <= 0.01
}

#[test]
fn faces_equal_the_reference() -> TestResult {
    let nets = nets()?;
    assert_eq!(nets.width(), 512);
    let recorded: BTreeMap<String, Vec<Recorded>> =
        serde_json::from_slice(&std::fs::read(fixture("faces.json"))?)?;
    assert_eq!(
        recorded.values().map(Vec::len).collect::<Vec<_>>(),
        [1, 1, 1, 1, 0, 1, 1, 2]
    );
    for (name, expected) in recorded {
        let image = read_image(&name)?;
        let found = nets.faces(&image)?;
        assert_eq!(found.len(), expected.len(), "{name}");
        for (face, expected) in found.iter().zip(&expected) {
            assert!(
                near(&face.detection, expected),
                "{name}: {:?}",
                face.detection
            );
            let similarity = cosine(&face.vector, &expected.vector);
            assert!(similarity >= 0.999, "{name}: {similarity}");
            let guess = nets.gender_age(&image, &face.detection)?;
            assert!(
                (guess.male - expected.male).abs() <= 0.02,
                "{name}: {guess:?}"
            );
            assert!((guess.age - expected.age).abs() <= 0.5, "{name}: {guess:?}");
            assert_eq!(
                nets.embed(&image, &face.detection.landmarks)?,
                face.vector,
                "{name}"
            );
            assert_eq!(nets.detect(&image)?.len(), found.len());
        }
    }
    Ok(())
}

#[test]
fn decide_tells_one_person_from_two() -> TestResult {
    let nets = nets()?;
    let see = |name: &str| -> Result<Vec<Face>, Box<dyn std::error::Error>> {
        Ok(nets.faces(&read_image(name)?)?)
    };
    let (first, again, second) = (
        see("first-a.png")?,
        see("first-b.png")?,
        see("second-a.png")?,
    );
    let photo = see("first-photo.png")?;
    assert!(
        cosine(&first[0].vector, &photo[0].vector)
            > cosine(&second[0].vector, &photo[0].vector) + 0.2
    );
    assert!(cosine(&first[0].vector, &again[0].vector) >= 0.7);
    assert!(cosine(&first[0].vector, &second[0].vector) < 0.7);
    assert!(see("nobody.png")?.is_empty());
    assert!(see("two.png")?.len() > 1);
    Ok(())
}

#[test]
fn faces_do_not_depend_on_other_threads() -> TestResult {
    let nets = nets()?;
    let image = read_image("two.png")?;
    let alone = nets.faces(&image)?;
    let beside = on_threads(4, || nets.faces(&image));
    assert_eq!(beside.len(), 4);
    for faces in beside {
        assert_eq!(faces?, alone);
    }
    Ok(())
}

/// What `work` returns on each of `n` threads at once.
fn on_threads<T: Send>(n: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..n).map(|_| scope.spawn(&work)).collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    })
}

#[test]
fn faces_of_degenerate_images_are_finite() -> TestResult {
    let nets = nets()?;
    for (width, height) in [
        (0, 0),
        (0, 7),
        (1, 1),
        (2, 1),
        (1, 3000),
        (1, 10_000),
        (5000, 1),
        (3, 900),
        (33, 31),
        (641, 639),
    ] {
        let noise =
            |x: u32, y: u32| Rgb([((x * 37) ^ (y * 91)) as u8, (x * y) as u8, (x ^ y) as u8]);
        for image in [
            RgbImage::from_fn(width, height, noise),
            RgbImage::from_pixel(width, height, Rgb([255; 3])),
        ] {
            for face in nets.faces_by(&image, Search::EverySize)? {
                assert!(
                    face.vector.iter().all(|v| v.is_finite()),
                    "{width} × {height}"
                );
                nets.gender_age(&image, &face.detection)?;
            }
        }
    }
    let image = read_image("first-a.png")?;
    assert!(matches!(
        nets.embed(&image, &[[3.0, 3.0]; 5]),
        Err(FaceError::BadLandmarks)
    ));
    let far = [
        [1e30, 0.0],
        [2e30, 1e30],
        [0.0, -1e30],
        [1e30, 1e30],
        [3e30, 1e30],
    ];
    assert!(matches!(
        nets.embed(&image, &far),
        Ok(_) | Err(FaceError::BadLandmarks)
    ));
    let flat = Detection {
        bbox: [5.0; 4],
        unclipped: [5.0; 4],
        landmarks: [[0.0; 2]; 5],
        score: 1.0,
    };
    assert!(matches!(
        nets.gender_age(&image, &flat),
        Err(FaceError::BadLandmarks)
    ));
    Ok(())
}

#[test]
fn load_names_the_wrong_file() -> TestResult {
    let folder = tempfile::tempdir()?;
    let load = |files: FaceFiles| FaceNets::load(&files, &FaceOptions::default()).err();
    let missing = FaceFiles {
        detector: folder.path().join("none.onnx"),
        ..files()
    };
    assert!(
        matches!(load(missing), Some(FaceError::Read { path, .. }) if path.ends_with("none.onnx"))
    );

    let whole = std::fs::read(files().recognizer)?;
    for (name, bytes) in [
        ("cut.onnx", &whole[..whole.len() / 2]),
        ("text.onnx", b"not a network".as_slice()),
        ("empty.onnx", b"".as_slice()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        let error = load(FaceFiles {
            recognizer: path.clone(),
            ..files()
        });
        assert!(
            matches!(&error, Some(FaceError::Network { path: p, .. }) if *p == path),
            "{name}: {error:?}"
        );
    }

    let swapped = FaceFiles {
        detector: files().recognizer,
        ..files()
    };
    assert!(
        load(swapped).is_some_and(|e| e.to_string().contains("faceplugin_fr_feature_512.onnx"))
    );
    let gender = files().gender.unwrap_or_default();
    let other = FaceFiles {
        recognizer: gender.clone(),
        ..files()
    };
    assert!(matches!(load(other), Some(FaceError::WrongShape { path, .. }) if path == gender));
    let other = FaceFiles {
        gender: Some(files().recognizer),
        ..files()
    };
    assert!(matches!(load(other), Some(FaceError::WrongShape { .. })));
    Ok(())
}

#[test]
fn gender_age_without_its_network_is_an_error() -> TestResult {
    let nets = load(&shipped())?;
    let image = read_image("first-a.png")?;
    let found = nets.detect(&image)?;
    assert!(matches!(
        nets.gender_age(&image, &found[0]),
        Err(FaceError::NoGenderNetwork)
    ));
    Ok(())
}
