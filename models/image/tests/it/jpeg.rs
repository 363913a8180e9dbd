//! JPEGs of every sampling, colour coding and order of scans, of sizes that fill no blocks: Pillow's pixels to the
//! last bit.

use std::path::Path;

use laioncele_image::{DecodeError, Limits, Orientation, check, decode};

/// A file that was recorded, and what was made of it.
#[derive(serde::Deserialize)]
struct Recorded {
    of: String,
    bytes: usize,
    size: [u32; 2],
    stored: String,
    upright: String,
}

#[derive(serde::Deserialize)]
struct Recording {
    files: Vec<Recorded>,
}

fn fnv(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Each file with what was recorded of it.
fn recorded() -> Vec<(Recorded, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpegs");
    let list = std::fs::read_to_string(folder.join("jpegs.json")).expect("a list");
    let list: Recording = serde_json::from_str(&list).expect("JSON");
    let mut rest = std::fs::read(folder.join("jpegs.bin")).expect("files");
    let mut each = |found: Recorded| {
        let file: Vec<u8> = rest.drain(..found.bytes).collect();
        (found, file)
    };
    let all: Vec<_> = list.files.into_iter().map(&mut each).collect();
    assert!(all.len() > 150 && rest.is_empty());
    all
}

#[test]
fn pixels_are_libjpeg_turbos() {
    let limits = Limits::default();
    let mut wrong = Vec::new();
    for (k, (found, file)) in recorded().into_iter().enumerate() {
        let pixels = |orientation| {
            let image = decode(&file, &limits, orientation).map_err(|e| e.to_string())?;
            Ok::<_, String>((image.dimensions(), fnv(image.as_raw())))
        };
        let stored = pixels(Orientation::AsStored);
        let is_right = stored == Ok((found.size.into(), found.stored))
            && pixels(Orientation::Upright).is_ok_and(|(_, hash)| hash == found.upright)
            && check(&file, &limits).is_ok();
        if !is_right {
            wrong.push(format!("{k}, {}: {stored:?}", found.of));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Wherever it is cut, and whatever a byte of it is: pixels or an error, by the proof as by decoding.
#[test]
fn damage_is_judged_alike_by_proof_and_decoder() {
    let limits = Limits {
        max_pixels: 1_000_000,
    };
    for (k, (found, file)) in recorded().into_iter().enumerate() {
        for length in (2..file.len()).step_by(1 + file.len() / 25) {
            let cut = &file[..length];
            assert!(
                decode(cut, &limits, Orientation::AsStored).is_err(),
                "{}",
                found.of
            );
            assert!(check(cut, &limits).is_err(), "{}", found.of);
        }
        for round in 0..40_usize {
            let mut bytes = file.clone();
            let at = (k * 7919 + round * 104_729) % bytes.len();
            bytes[at] = bytes[at].wrapping_add((1 + round * 37) as u8);
            let decoded = decode(&bytes, &limits, Orientation::Upright);
            assert_eq!(
                check(&bytes, &limits).is_ok(),
                decoded.is_ok(),
                "{}: {at}",
                found.of
            );
        }
    }
}

/// Its frame header's kind and bits changed.
#[test]
fn kinds_that_are_not_read_are_named() {
    let (_, file) = recorded().swap_remove(0);
    let at = memchr::memmem::find(&file, b"\xff\xc0").expect("a frame");
    let said = |marker: u8, bits: u8| {
        let mut file = file.clone();
        file[at + 1] = marker;
        file[at + 4] = bits;
        match decode(&file, &Limits::default(), Orientation::AsStored) {
            Err(DecodeError::Corrupt(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(said(0xc1, 12), "the JPEG has not 8 bits a sample");
    assert_eq!(said(0xc9, 8), "the JPEG is coded arithmetically");
    assert_eq!(said(0xc3, 8), "the JPEG is a lossless one");
}
