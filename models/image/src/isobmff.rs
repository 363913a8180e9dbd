//! The boxes of an ISO media file, which AVIF is.

/// A box: its kind and what is in it.
type Content<'a> = (&'a [u8], &'a [u8]);

/// Splits the first box off. `None` where it does not lie in `bytes` wholly.
fn first<'a>(bytes: &mut &'a [u8]) -> Option<Content<'a>> {
    let number = |at: usize| {
        let value = bytes.get(at..at + 4)?;
        Some(u64::from(u32::from_be_bytes(value.try_into().ok()?)))
    };
    let kind = bytes.get(4..8)?;
    let (size, head) = match number(0)? {
        // Up to the end of the file.
        0 => (bytes.len() as u64, 8),
        1 => (number(8)? << 32 | number(12)?, 16),
        size => (size, 8),
    };
    let size = usize::try_from(size).ok()?;
    let content = bytes.get(head..size)?;
    *bytes = &bytes[size..];
    Some((kind, content))
}

/// Whether the file reaches to the end of its last box.
pub(crate) fn is_whole(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if first(&mut bytes).is_none() {
            return false;
        }
    }
    true
}

/// Gives a last box that goes on to the end of the file its length.
pub(crate) fn say_length_of_last(bytes: &mut [u8]) {
    let (whole, mut left) = (bytes.len(), &*bytes);
    loop {
        let at = whole - left.len();
        let is_open = left.starts_with(&[0; 4]);
        if left.is_empty() || first(&mut left).is_none() {
            return;
        }
        if is_open {
            let length = u32::try_from(whole - at).unwrap_or(0);
            bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            return;
        }
    }
}

/// What is in the first box of this kind.
fn inside<'a>(mut bytes: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    while let Some((found, content)) = first(&mut bytes) {
        if found == kind {
            return Some(content);
        }
    }
    None
}

/// The widths and heights that the properties of a file's images name (`ispe`), before they are cropped or turned. Which of
/// them is the primary image's is not looked at.
pub(crate) fn sizes(bytes: &[u8]) -> Vec<(u32, u32)> {
    // Before its boxes, `meta` has a version of four bytes.
    let meta = inside(bytes, b"meta").and_then(|meta| meta.get(4..));
    let properties = meta.and_then(|meta| inside(meta, b"iprp"));
    let mut left = properties
        .and_then(|properties| inside(properties, b"ipco"))
        .unwrap_or_default();
    let mut sizes = Vec::new();
    while let Some((kind, content)) = first(&mut left) {
        if kind == b"ispe"
            && let Some(&[a, b, c, d, e, f, g, h]) = content.get(4..12)
        {
            let (width, height) = ([a, b, c, d], [e, f, g, h]);
            sizes.push((u32::from_be_bytes(width), u32::from_be_bytes(height)));
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = (content.len() as u32 + 8).to_be_bytes();
        [&size[..], kind, content].concat()
    }

    fn ispe(width: u32, height: u32) -> Vec<u8> {
        let content = [[0; 4], width.to_be_bytes(), height.to_be_bytes()].concat();
        a_box(b"ispe", &content)
    }

    #[test]
    fn sizes_are_found_where_they_belong() {
        let ipco = [ispe(640, 480), a_box(b"pixi", &[0; 8]), ispe(100, 50)].concat();
        let iprp = a_box(b"iprp", &a_box(b"ipco", &ipco));
        let meta = [&[0; 4][..], &a_box(b"hdlr", &[0; 20]), &iprp].concat();
        let file = [
            a_box(b"ftyp", b"avif0000"),
            a_box(b"meta", &meta),
            a_box(b"mdat", &ispe(7, 7)),
        ]
        .concat();
        assert_eq!(sizes(&file), [(640, 480), (100, 50)]);
        assert!(is_whole(&file));
        assert!(!is_whole(&file[..file.len() - 1]));
        assert!(sizes(&file[..60]).is_empty());
    }

    #[test]
    fn an_open_last_box_gets_its_length() {
        let open = [&[0, 0, 0, 0][..], b"mdat", &[7; 9]].concat();
        let closed = a_box(b"mdat", &[7; 9]);
        let before = a_box(b"free", &[0; 3]);
        for (mut file, expected) in [
            (
                [&before[..], &open].concat(),
                [&before[..], &closed].concat(),
            ),
            (open.clone(), closed.clone()),
            (closed.clone(), closed.clone()),
            (before[..5].to_vec(), before[..5].to_vec()),
            (Vec::new(), Vec::new()),
        ] {
            say_length_of_last(&mut file);
            assert_eq!(file, expected);
        }
    }

    #[test]
    fn sizes_of_boxes_that_cannot_be_are_refused() {
        for size in [2_u32, 7, u32::MAX] {
            assert!(!is_whole(&[&size.to_be_bytes()[..], b"mdat"].concat()));
        }
        let long = |size: u64| [&[0, 0, 0, 1][..], b"mdat", &size.to_be_bytes()].concat();
        assert!(is_whole(&long(16)));
        for size in [0, 15, 17, u64::MAX] {
            assert!(!is_whole(&long(size)), "{size}");
        }
        assert!(is_whole(&[0, 0, 0, 0, b'm', b'd', b'a', b't', 1, 2, 3]));
        assert!(is_whole(&[]));
    }
}
