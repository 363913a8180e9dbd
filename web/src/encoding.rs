//! Content encodings: bodies that are packed though nobody asked, and labels that are wrong.

use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use laioncele_core::DropReason;

use crate::failure::Failure;
use crate::room::RoomShare;

/// Layers that are taken off at most.
const LAYERS: usize = 4;
/// Unpacked at a time.
const PIECE: usize = 64 << 10;
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Takes encodings off a body until it is plain. `labels` are those of `Content-Encoding` in their order. gzip is known
/// by its first bytes, with or without a label; deflate, in zlib's wrapping or raw, by its label alone, and only when it
/// is sound; all other labels are passed over, because a plain body under a wrong label is common.
///
/// # Errors
/// `too_large` beyond `cap` bytes, `bad_response` for gzip that is cut off or broken, and for zstd.
pub(crate) async fn unpack(
    mut bytes: Vec<u8>,
    mut labels: Vec<String>,
    cap: usize,
    share: &mut RoomShare,
) -> Result<Vec<u8>, Failure> {
    for _ in 0..LAYERS {
        let label = labels.pop();
        if bytes.starts_with(&GZIP) {
            bytes = gunzip(&bytes, cap, share).await?;
        } else if label.as_deref() == Some("deflate") && !is_image(&bytes) {
            bytes = match inflate(&bytes, cap, share).await? {
                Some(unpacked) => unpacked,
                None => bytes,
            };
        } else if bytes.starts_with(&ZSTD) {
            return Err(Failure::malformed("packed by zstd, which nobody asked for"));
        } else if labels.is_empty() {
            break;
        }
    }
    Ok(bytes)
}

/// All members of a gzip file; what follows the last one is passed over.
async fn gunzip(bytes: &[u8], cap: usize, share: &mut RoomShare) -> Result<Vec<u8>, Failure> {
    let (mut rest, mut unpacked) = (bytes, Vec::new());
    while rest.starts_with(&GZIP) {
        let mut decoder = GzDecoder::new(rest);
        match drain(&mut decoder, &mut unpacked, bytes.len(), cap, share).await? {
            Ok(()) => rest = decoder.into_inner(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(broken("gzip cut off"));
            }
            Err(error) => return Err(broken(&format!("gzip: {error}"))),
        }
    }
    Ok(unpacked)
}

/// What deflate unpacks to; none where it is not packed so.
async fn inflate(
    bytes: &[u8],
    cap: usize,
    share: &mut RoomShare,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut unpacked = Vec::new();
    let zlib = bytes.len() > 2
        && bytes[0] & 0x0f == 8
        && u16::from_be_bytes([bytes[0], bytes[1]]).is_multiple_of(31);
    let result = if zlib {
        drain(
            &mut ZlibDecoder::new(bytes),
            &mut unpacked,
            bytes.len(),
            cap,
            share,
        )
        .await?
    } else {
        drain(
            &mut DeflateDecoder::new(bytes),
            &mut unpacked,
            bytes.len(),
            cap,
            share,
        )
        .await?
    };
    match result {
        Ok(()) => Ok(Some(unpacked)),
        Err(_) if zlib => Err(broken("deflate cut off or broken")),
        Err(_) => Ok(None),
    }
}

/// Reads a decoder to its end, giving other tasks their turn between pieces.
async fn drain(
    decoder: &mut impl Read,
    unpacked: &mut Vec<u8>,
    packed: usize,
    cap: usize,
    share: &mut RoomShare,
) -> Result<io::Result<()>, Failure> {
    loop {
        share.grow_to(packed + unpacked.len() + PIECE).await;
        let piece = decoder.take(PIECE as u64).read_to_end(unpacked);
        if unpacked.len() > cap {
            return Err(Failure::more_than(cap));
        }
        match piece {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn broken(why: &str) -> Failure {
    Failure::passing(DropReason::BadResponse, why.to_owned())
}

/// Whether bytes begin as an image does, so that no label makes them packed.
fn is_image(bytes: &[u8]) -> bool {
    let starts: [&[u8]; 8] = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF8",
        b"RIFF",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"8BPS",
    ];
    starts.iter().any(|start| bytes.starts_with(start)) || bytes.get(4..8) == Some(b"ftyp")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;
    use crate::room::Room;

    fn run(bytes: &[u8], labels: &[&str], cap: usize) -> Result<Vec<u8>, DropReason> {
        let labels = labels.iter().map(|l| (*l).to_owned()).collect();
        let mut share = Room::new(1 << 20).share();
        let unpacked = unpack(bytes.to_vec(), labels, cap, &mut share);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(unpacked).map_err(|failure| failure.reason)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .expect("packed")
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .expect("packed")
    }

    fn raw(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .expect("packed")
    }

    const IMAGE: &[u8] = b"\xff\xd8\xff\xe0 not quite a photo, but it begins as one";

    #[test]
    fn packed_bodies_are_unpacked_with_and_without_a_label() {
        let packed = gzip(IMAGE);
        for labels in [
            &["gzip"][..],
            &["x-gzip"],
            &[],
            &["identity"],
            &["deflate"],
            &["br"],
            &["gzip", "gzip"],
        ] {
            assert_eq!(
                run(&packed, labels, 1000).as_deref(),
                Ok(IMAGE),
                "{labels:?}"
            );
        }
        assert_eq!(
            run(&gzip(&packed), &["gzip", "gzip"], 1000).as_deref(),
            Ok(IMAGE)
        );
        assert_eq!(run(&zlib(IMAGE), &["deflate"], 1000).as_deref(), Ok(IMAGE));
        assert_eq!(run(&raw(IMAGE), &["deflate"], 1000).as_deref(), Ok(IMAGE));
        assert_eq!(
            run(&raw(&gzip(IMAGE)), &["gzip", "deflate"], 1000).as_deref(),
            Ok(IMAGE)
        );
        let members = [gzip(&IMAGE[..9]), gzip(&IMAGE[9..]), b"trailing".to_vec()].concat();
        assert_eq!(run(&members, &["gzip"], 1000).as_deref(), Ok(IMAGE));
    }

    #[test]
    fn plain_bodies_under_wrong_labels_are_kept() {
        for body in [
            IMAGE,
            b"<html>",
            b"",
            b"x",
            b"RIFF....WEBP",
            b"\x89PNG\r\n\x1a\n..",
            b"\0\0\0\x1cftypavif",
        ] {
            for label in [
                "gzip", "x-gzip", "deflate", "br", "zstd", "none", "compress", "utf-8",
            ] {
                assert_eq!(
                    run(body, &[label], 1000).as_deref(),
                    Ok(body),
                    "{label} {body:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_broken_or_too_large_is_no_body() {
        let packed = gzip(IMAGE);
        let cut = &packed[..packed.len() - 9];
        assert_eq!(run(cut, &["gzip"], 1000), Err(DropReason::BadResponse));
        let packed = zlib(IMAGE);
        assert_eq!(
            run(&packed[..9], &["deflate"], 1000),
            Err(DropReason::BadResponse)
        );
        assert_eq!(run(&ZSTD, &["zstd"], 1000), Err(DropReason::BadResponse));
        let bomb = gzip(&vec![0; 10 << 20]);
        assert_eq!(run(&bomb, &["gzip"], 1 << 20), Err(DropReason::TooLarge));
        assert_eq!(run(&gzip(&bomb), &[], 1 << 20), Err(DropReason::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_under_any_labels_end_within_the_cap(bytes: Vec<u8>, labels in prop::collection::vec(prop::sample::select(vec!["gzip", "deflate", "br", ""]), 0..6)) {
            if let Ok(unpacked) = run(&bytes, &labels, 4096) {
                prop_assert!(unpacked.len() <= 4096);
            }
        }

        #[test]
        fn what_was_packed_comes_back(mut bytes: Vec<u8>) {
            bytes.splice(0..0, *b"GIF8");
            for packed in [gzip(&bytes), zlib(&bytes), raw(&bytes)] {
                prop_assert_eq!(run(&packed, &["deflate"], 4096), Ok(bytes.clone()));
            }
        }
    }
}
