//! The stage against a web server that misbehaves in every way that has a drop reason.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use image::{ImageFormat, RgbImage};
use laioncele_core::Partition;
use laioncele_core::spec::HostMap;
use laioncele_core::table::{Candidate, Dropped, FaceVector, FaceVectors, KnownName, Photo};
use laioncele_core::testing::StepHarness;
use laioncele_core::{DropReason, ImageId, NameId};

type AnyError = Box<dyn std::error::Error>;

pub(crate) fn jpeg(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 3) as u8, (y * 2) as u8, 77])
    });
    image
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .expect("encodes");
    bytes
}

pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A PNG header that announces 50,000 × 50,000 pixels.
fn huge_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    RgbImage::new(1, 1)
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .expect("encodes");
    bytes[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, b: &u8| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| {
            (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

fn redirect(to: &str) -> Vec<u8> {
    answer("302 Found", &format!("Location: {to}\r\n"), b"")
}

fn reply(path: &str, stream: &mut TcpStream, busy: &AtomicUsize) -> std::io::Result<()> {
    let image = jpeg(96);
    let bytes = match path {
        "/good.jpg" | "/mapped.jpg" => answer("200 OK", "Content-Type: text/plain\r\n", &image),
        "/moved.jpg" => redirect("/good.jpg"),
        "/busy.jpg" if busy.fetch_add(1, Ordering::SeqCst) == 0 => {
            answer("429 Too Many Requests", "Retry-After: 0\r\n", b"")
        }
        "/busy.jpg" => answer("200 OK", "", &image),
        "/loop.jpg" => redirect("/loop.jpg"),
        "/loopback.jpg" => redirect("http://127.0.0.1/secret"),
        "/metadata.jpg" => redirect("http://169.254.169.254/latest"),
        "/missing.jpg" => answer("404 Not Found", "", b""),
        "/broken.jpg" => answer("503 Service Unavailable", "", b""),
        "/html.jpg" => answer(
            "200 OK",
            "Content-Type: image/jpeg\r\n",
            b"<!DOCTYPE html><html><body>no image</body></html>",
        ),
        "/truncated.jpg" => answer("200 OK", "", &image[..image.len() / 2]),
        "/small.jpg" => answer("200 OK", "", &jpeg(16)),
        "/huge.png" => answer("200 OK", "", &huge_png()),
        "/long.jpg" => b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
        "/optout.jpg" => answer(
            "200 OK",
            "X-Robots-Tag: otherbot: noindex\r\nx-robots-tag: all, NoImageAI\r\n",
            &image,
        ),
        "/garbage.jpg" => b"SMTP 220 hello\r\n\r\n".to_vec(),
        "/cut.jpg" => b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc".to_vec(),
        "/slow.jpg" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")?;
            return std::iter::repeat_n((), 100).try_for_each(|()| {
                std::thread::sleep(Duration::from_millis(100));
                stream.write_all(b"x")
            });
        }
        _ => return Ok(()),
    };
    stream.write_all(&bytes)
}

fn serve(mut stream: TcpStream, busy: &AtomicUsize) -> std::io::Result<()> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && request.len() < 8192 && stream.read(&mut byte)? == 1 {
        request.push(byte[0]);
        // A TLS hello: answered in plain text.
        if request[0] == 0x16 {
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    reply(path, &mut stream, busy)
}

fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let busy = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let busy = busy.clone();
            std::thread::spawn(move || serve(stream, &busy));
        }
    });
    Ok(address)
}

pub(crate) fn known(name: NameId) -> KnownName {
    let face = FaceVector(vec![0.5; 4]);
    KnownName {
        name_id: name,
        name: "Mira Castellan".to_owned(),
        faces: FaceVectors(vec![face.clone(); 4]),
        mean_face: face,
        min_similarity: 1.0,
        mean_similarity: 1.0,
    }
}

const URLS: [(&str, Option<DropReason>); 22] = [
    ("http://a.example/good.jpg", None),
    ("http://b.example/moved.jpg", None),
    ("http://c.example/busy.jpg", None),
    ("ftp://a.example/x.jpg", Some(DropReason::BadUrl)),
    ("not a url", Some(DropReason::BadUrl)),
    ("http://nowhere.invalid/x.jpg", Some(DropReason::Dns)),
    ("http://a.example/nothing.jpg", Some(DropReason::Connect)),
    ("http://a.example/cut.jpg", Some(DropReason::Connect)),
    ("https://a.example/good.jpg", Some(DropReason::Tls)),
    ("http://a.example/slow.jpg", Some(DropReason::Timeout)),
    (
        "http://a.example/garbage.jpg",
        Some(DropReason::BadResponse),
    ),
    (
        "http://a.example/loop.jpg",
        Some(DropReason::TooManyRedirects),
    ),
    ("http://a.example/missing.jpg", Some(DropReason::Http4xx)),
    ("http://a.example/broken.jpg", Some(DropReason::Http5xx)),
    ("http://a.example/long.jpg", Some(DropReason::TooLarge)),
    ("http://a.example/huge.png", Some(DropReason::TooLarge)),
    ("http://a.example/html.jpg", Some(DropReason::NotAnImage)),
    ("http://a.example/truncated.jpg", Some(DropReason::Corrupt)),
    ("http://a.example/small.jpg", Some(DropReason::TooSmall)),
    ("http://a.example/optout.jpg", Some(DropReason::OptOut)),
    (
        "http://a.example/loopback.jpg",
        Some(DropReason::BlockedAddress),
    ),
    (
        "http://a.example/metadata.jpg",
        Some(DropReason::BlockedAddress),
    ),
];

#[test]
fn each_failure_gets_its_drop_reason_and_good_photos_stay_untouched() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let mut harness = StepHarness::new(
        folder.path(),
        "[download_images]\ntimeout_s = 2.5\nretries = 1\nbackoff_s = 0.01\ndeadline_s = 10\n",
    )?;
    harness.runtime_environment.host_map = Some(HostMap {
        suffix: ".example".to_owned(),
        address: start()?,
    });
    let (name, stranger) = (NameId(7), NameId(8));
    let row = |name_id: NameId, url: &str, hash: Option<String>| Candidate {
        name_id,
        image_id: ImageId::of(url),
        url: url.to_owned(),
        caption: "Mira Castellan at the premiere".to_owned(),
        hash,
        image_at: None,
    };
    let mut rows: Vec<_> = URLS.iter().map(|(url, _)| row(name, url, None)).collect();
    rows.push(row(
        name,
        "http://d.example/mapped.jpg",
        Some("0123456789abcdef0123456789abcdef".to_owned()),
    ));
    rows.push(row(stranger, "http://a.example/good.jpg", None));
    let bucket = Partition::Bucket(0);
    let inputs = vec![
        harness.part(&bucket, rows)?,
        harness.part(&bucket, vec![known(name)])?,
    ];
    let step = laioncele_download_images::steps().remove(0);
    let record = harness.run(&*step, &bucket, inputs)?;

    let photos = harness.rows::<Photo>(&record)?;
    assert_eq!(photos.len(), 3);
    assert!(
        photos
            .iter()
            .all(|p| p.image.bytes == jpeg(96) && (p.width, p.height) == (96, 96))
    );
    let dropped: BTreeMap<_, _> = harness
        .rows::<Dropped>(&record)?
        .into_iter()
        .map(|d| ((d.name_id, d.id), d.reason))
        .collect();
    assert_eq!(dropped.len(), URLS.len() - 3 + 2);
    for (url, reason) in URLS.iter().filter_map(|(url, r)| r.map(|r| (url, r))) {
        assert_eq!(dropped[&(Some(name), ImageId::of(url).0)], reason, "{url}");
    }
    assert_eq!(
        dropped[&(Some(name), ImageId::of("http://d.example/mapped.jpg").0)],
        DropReason::HashMismatch
    );
    assert_eq!(
        dropped[&(Some(stranger), ImageId::of("http://a.example/good.jpg").0)],
        DropReason::UnknownName
    );
    Ok(())
}

#[test]
fn a_hash_mismatch_is_tolerated_by_choice() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let settings = "[download_images]\non_hash_mismatch = \"keep\"\n";
    let mut harness = StepHarness::new(folder.path(), settings)?;
    let address = start()?;
    let suffix = ".example".to_owned();
    harness.runtime_environment.host_map = Some(HostMap { suffix, address });
    let (name, url) = (NameId(7), "http://a.example/good.jpg");
    let row = Candidate {
        name_id: name,
        image_id: ImageId::of(url),
        url: url.to_owned(),
        caption: "Mira Castellan at the premiere".to_owned(),
        hash: Some("0123456789abcdef0123456789abcdef".to_owned()),
        image_at: None,
    };
    let bucket = Partition::Bucket(0);
    let inputs = vec![
        harness.part(&bucket, vec![row])?,
        harness.part(&bucket, vec![known(name)])?,
    ];
    let step = laioncele_download_images::steps().remove(0);
    let record = harness.run(&*step, &bucket, inputs)?;
    assert_eq!(harness.rows::<Photo>(&record)?.len(), 1);
    // The default is in no key: those of earlier runs stay.
    assert!(
        !StepHarness::new(folder.path(), "")
            .map(|h| step.settings(&h.manifest))??
            .to_string()
            .contains("on_hash_mismatch")
    );
    assert!(
        step.settings(&harness.manifest)?
            .to_string()
            .contains("on_hash_mismatch")
    );
    Ok(())
}

#[test]
fn key_ignores_timeouts_and_concurrency() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let step = laioncele_download_images::steps().remove(0);
    let settings = |text: &str| -> Result<_, AnyError> {
        Ok(step.settings(&StepHarness::new(folder.path(), text)?.manifest)?)
    };
    assert_eq!(
        settings("")?,
        settings("[download_images]\ntimeout_s = 3\nconcurrency = 2\n")?
    );
    assert_ne!(
        settings("")?,
        settings("[download_images]\nmax_bytes = 1000\n")?
    );
    Ok(())
}
