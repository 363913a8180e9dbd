use laioncele_image::{Limits, Orientation, check, decode, header};

use crate::fixtures;

/// How far a byte may be from Pillow's at most, and on average. JPEG in TIFF: another decoder than ours; AVIF: chroma is brought to luma's size by other weights than libyuv's; BMP of 16 bits: five bits made eight.
fn bound(name: &str) -> (u8, f32) {
    match name {
        "16bit.bmp" => (1, 0.5),
        "jpeg.tif" => (4, 0.5),
        _ if name.ends_with(".avif") => (10, 0.5),
        _ => (0, 0.0),
    }
}

#[test]
fn pixels_are_pillows() {
    let mut wrong = Vec::new();
    for (name, path) in fixtures() {
        let bytes = std::fs::read(&path).expect("reads");
        let expected =
            std::fs::read(path.with_file_name(format!("{name}.expected.png"))).expect("reads");
        let read = |bytes: &[u8]| decode(bytes, &Limits::default(), Orientation::AsStored);
        let (found, expected) = match (read(&bytes), read(&expected)) {
            (Ok(found), Ok(expected)) => (found, expected),
            (found, _) => {
                wrong.push(format!("{name}: {:?}", found.err()));
                continue;
            }
        };
        let head = header(&bytes).expect("a header");
        assert_eq!((head.width, head.height), found.dimensions(), "{name}");
        assert_eq!(
            check(&bytes, &Limits::default()).expect("is sound"),
            head,
            "{name}"
        );
        let steps = found
            .as_raw()
            .iter()
            .zip(expected.as_raw())
            .map(|(a, b)| a.abs_diff(*b));
        let (most, sum) = steps.fold((0, 0.0), |(most, sum), step| {
            (most.max(step), sum + f32::from(step))
        });
        let average = sum / found.as_raw().len() as f32;
        let allowed = bound(&name);
        if found.dimensions() != expected.dimensions() || most > allowed.0 || average > allowed.1 {
            wrong.push(format!(
                "{name}: {most} at most, {average} on average, {:?} {:?}",
                found.dimensions(),
                expected.dimensions()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
