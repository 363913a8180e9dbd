use laioncele_image::{DecodeError, Limits, Orientation, check, decode};

use crate::fixtures;

/// Wherever it is cut: by a check and by decoding, and never half a picture. A file so short that
/// its format does not show is no image.
#[test]
fn a_cut_file_is_corrupt() {
    let limits = Limits::default();
    let mut wrong = Vec::new();
    for (name, path) in fixtures() {
        let bytes = std::fs::read(path).expect("reads");
        let is_refused = |length: usize| {
            let cut = &bytes[..length];
            let refused = |error: Option<DecodeError>| match error {
                Some(DecodeError::Corrupt(_)) => true,
                Some(DecodeError::NotAnImage) => length < 32,
                _ => false,
            };
            refused(check(cut, &limits).err())
                && refused(decode(cut, &limits, Orientation::AsStored).err())
        };
        // A multiple of two bytes is padded.
        let padding = usize::from(name == "pages.tif");
        let through: Vec<usize> = (0..bytes.len() - padding)
            .filter(|length| !is_refused(*length))
            .collect();
        if let (Some(first), Some(last)) = (through.first(), through.last()) {
            wrong.push(format!(
                "{name}, {} bytes: {} cuts pass, {first} to {last}",
                bytes.len(),
                through.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Decoders fill up with gray what a JPEG's scans lack.
#[test]
fn a_jpeg_that_ends_before_its_blocks_do_is_corrupt() {
    for (name, path) in fixtures() {
        if !name.ends_with(".jpg") {
            continue;
        }
        let bytes = std::fs::read(path).expect("reads");
        for missing in 8..40 {
            let mut cut = bytes[..bytes.len() - 2 - missing].to_vec();
            cut.extend(b"\xff\xd9");
            let found = check(&cut, &Limits::default());
            assert!(
                matches!(found, Err(DecodeError::Corrupt(_))),
                "{name} without {missing} bytes: {found:?}"
            );
            assert!(
                decode(&cut, &Limits::default(), Orientation::AsStored).is_err(),
                "{name}"
            );
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    /// Damage gives pixels or an error, never a panic, and what a check lets through is decoded.
    #[test]
    fn what_passes_the_check_is_decoded(file in 0usize..66, at in 0.0..1.0f64, damage in proptest::collection::vec(0u8.., 1..12)) {
        let (name, path) = fixtures().swap_remove(file);
        let mut bytes = std::fs::read(path).expect("reads");
        let at = (at * bytes.len() as f64) as usize;
        for (byte, new) in bytes[at..].iter_mut().zip(&damage) {
            *byte = *new;
        }
        let limits = Limits { max_pixels: 1_000_000 };
        let checked = check(&bytes, &limits);
        let decoded = decode(&bytes, &limits, Orientation::Upright);
        proptest::prop_assert_eq!(checked.is_ok(), decoded.is_ok(), "{}: {:?}", name, decoded.err());
    }
}

/// Proofs keep no pixels, and say the same as decoding: of whole files, and of
/// files with some bytes changed.
#[test]
fn what_is_proven_decodes_and_what_is_not_does_not() {
    let limits = Limits {
        max_pixels: 1_000_000,
    };
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let (mut wrong, mut proven) = (Vec::new(), 0);
    // JPEGs are stepped over by code of its own, which has tests of its own.
    let others = fixtures()
        .into_iter()
        .filter(|(name, _)| !name.ends_with(".jpg"));
    for (name, path) in others {
        let whole = std::fs::read(path).expect("reads");
        for round in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..round % 4 {
                // Most of what can be said wrongly stands in front.
                let end = [bytes.len(), bytes.len().min(120)][round / 4 % 2];
                bytes[random(end)] = [0, 1, 0x7f, 0xff, random(256) as u8][random(5)];
            }
            let is_proven = check(&bytes, &limits).is_ok();
            proven += usize::from(is_proven);
            if is_proven != decode(&bytes, &limits, Orientation::AsStored).is_ok() {
                wrong.push(format!("{name}, round {round}: proven is {is_proven}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(proven > 1000, "{proven}");
}

/// Readers that believe the container make room for what it says.
#[test]
fn an_avif_of_another_size_than_its_container_says_is_refused() {
    let all = fixtures();
    let (_, path) = all.iter().find(|(name, _)| name == "420.avif").expect("it");
    let bytes = std::fs::read(path).expect("reads");
    let at = memchr::memmem::find(&bytes, b"ispe").expect("a size") + 8;
    let with = |width: u32, height: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&width.to_be_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&height.to_be_bytes());
        check(&bytes, &Limits::default()).expect_err("refused")
    };
    assert!(check(&bytes, &Limits::default()).is_ok());
    for (width, height) in [(1, 1), (1000, 1000), (0, u32::MAX)] {
        assert!(matches!(with(width, height), DecodeError::Corrupt(_)));
    }
    assert!(matches!(with(60_000, 60_000), DecodeError::TooLarge { .. }));
}
