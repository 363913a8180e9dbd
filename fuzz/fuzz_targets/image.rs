#![no_main]

use laioncele_image::{Limits, Orientation, check, decode, header, sniff};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        max_pixels: 1 << 16,
    };
    let read = header(bytes);
    assert!(read.is_err() || sniff(bytes).is_some());
    let decoded = decode(bytes, &limits, Orientation::AsStored);
    assert_eq!(check(bytes, &limits).is_ok(), decoded.is_ok());
    if let (Ok(header), Ok(image)) = (read, decoded) {
        assert_eq!((header.width, header.height), image.dimensions());
        assert!(u64::from(header.width) * u64::from(header.height) <= limits.max_pixels);
    }
});
