//! What img2dataset wrote: tar shards, folders and Parquet with the images in them.

use arrow::array::{BinaryArray, StructArray};
use arrow::datatypes::{DataType, Field};

use super::*;

/// Key, metadata (its status where there is no image), caption, image.
fn samples() -> Vec<(String, String, &'static str, Option<Vec<u8>>)> {
    let sample = |i: usize, caption: &'static str| {
        let url = format!("http://a.example/{i}.jpg");
        let image = vec![i as u8; 700 + i];
        let json = serde_json::json!({
            "url": url, "key": format!("{i:09}"), "status": "success", "error_message": null,
            "caption": caption, "width": 256, "height": 256, "md5": "0123456789abcdef0123456789abcdef",
        });
        (format!("{i:09}"), json.to_string(), caption, Some(image))
    };
    vec![
        sample(0, "Mira Castellan"),
        sample(1, "Jonas Albrecht"),
        sample(2, "Vera Holt"),
    ]
}

/// The files of the samples in the order in which img2dataset writes them.
fn files() -> Vec<(String, Vec<u8>)> {
    let files = samples()
        .into_iter()
        .flat_map(|(key, json, caption, image)| {
            [
                (format!("{key}.jpg"), image.unwrap_or_default()),
                (format!("{key}.json"), json.into_bytes()),
                (format!("{key}.txt"), caption.as_bytes().to_vec()),
            ]
        });
    files.collect()
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, &bytes[..])
            .expect("appended");
    }
    builder.into_inner().expect("finished")
}

/// What img2dataset writes beside its shards.
fn describe(source: &Source) {
    let columns = ["url", "caption", "key", "status", "error_message"];
    let columns: Vec<_> = columns.map(|name| (name, texts(&["x"]))).to_vec();
    source.parquet("00000.parquet", &columns);
    source.write("00000_stats.json", b"{\"count\": 3}");
}

fn check(source: &Source, place: &str) {
    let rows = source.rows();
    assert_eq!(rows.len(), 3, "{place}");
    let images = SourceImages::open(&source.manifest()).expect("images");
    let addresses: Vec<&str> = rows
        .iter()
        .rev()
        .filter_map(|row| row.image_at.as_deref())
        .collect();
    assert!(addresses[2].contains(place), "{} of {place}", addresses[2]);
    let found = images.read(&addresses, 10_000);
    let expected = samples();
    for ((row, bytes), (_, _, caption, image)) in
        rows.iter().rev().zip(found).zip(expected.iter().rev())
    {
        assert_eq!(
            (row.caption.as_str(), row.status.as_str()),
            (*caption, "success")
        );
        assert_eq!((row.width, row.hash.as_str()), (Some(256.0), ""));
        assert_eq!(bytes.ok(), *image);
    }
    // Two captions may name one image.
    let twice = images.read(&[addresses[0], addresses[2], addresses[0]], 10_000);
    let [first, _, second] = &twice[..] else {
        panic!("{twice:?}");
    };
    assert_eq!(first.as_ref().ok(), second.as_ref().ok());
    assert!(first.is_ok(), "{first:?}");
    // A smaller limit, and a shard that is gone.
    let too_large = images.read(&addresses, 700);
    assert!(matches!(
        too_large[0],
        Err(ImageError::TooLarge {
            bytes: 702,
            limit: 700
        })
    ));
    assert!(too_large[2].is_ok());
    let elsewhere = images.read(&["shard-gone@00000000#512+3", "nonsense"], 10);
    assert!(
        elsewhere
            .iter()
            .all(|found| matches!(found, Err(ImageError::Changed { .. })))
    );
}

#[test]
fn a_tar_shard_gives_rows_and_images() {
    let source = Source::new();
    source.write("00000.tar", &tar(&files()));
    describe(&source);
    check(&source, "shard-00000.tar@");
    assert!(
        source
            .description()
            .starts_with("layout img2dataset: url = url, caption = caption")
    );
    assert!(source.description().ends_with("; with images"));
}

#[test]
fn a_folder_of_files_gives_rows_and_images() {
    let source = Source::new();
    for (name, bytes) in files() {
        source.write(&format!("00000/{name}"), &bytes);
    }
    describe(&source);
    check(&source, "#000000000.jpg");
    assert_eq!(source.shards().len(), 1);
}

#[test]
fn parquet_with_bytes_gives_rows_and_images() {
    for nested in [false, true] {
        let source = Source::new();
        let all = samples();
        let captions: Vec<&str> = all.iter().map(|(_, _, caption, _)| *caption).collect();
        let images: BinaryArray = all
            .iter()
            .map(|(_, _, _, image)| image.as_deref())
            .collect();
        let images: ArrayRef = Arc::new(images);
        let field = Arc::new(Field::new("bytes", DataType::Binary, true));
        let nest = || Arc::new(StructArray::from(vec![(field.clone(), images.clone())]));
        let wide = || -> ArrayRef { Arc::new(arrow::array::Int32Array::from(vec![256; 3])) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("url", url_column(3)),
            ("caption", texts(&captions)),
            ("key", texts(&["0", "1", "2"])),
            ("status", texts(&["success"; 3])),
            ("error_message", texts(&[""; 3])),
            ("width", wide()),
            ("jpg", if nested { nest() } else { images.clone() }),
        ];
        let small_groups = WriterProperties::builder().set_max_row_group_row_count(Some(2));
        source.parquet_with("00000.parquet", &columns, small_groups.build());
        check(&source, "shard-00000@");
        // Without the images, its metadata is any other.
        let source = Source::new();
        source.parquet("00000.parquet", &columns[..6]);
        assert_eq!(
            (
                source.rows()[0].image_at.clone(),
                source.rows()[0].status.as_str()
            ),
            (None, "")
        );
    }
}

#[test]
fn samples_that_are_not_whole_are_malformed_or_say_their_status() {
    let source = Source::new();
    let failed = br#"{"url": "http://a.example/3.jpg", "status": "failed_to_download"}"#;
    let mut files = files();
    files.push(("3.json".to_owned(), failed.to_vec()));
    files.push(("4.jpg".to_owned(), b"image".to_vec()));
    files.push(("5.jpg".to_owned(), b"image".to_vec()));
    files.push(("5.json".to_owned(), b"{\"url\": ".to_vec()));
    files.push((
        "6.json".to_owned(),
        br#"{"url": "http://a.example/6.jpg"}"#.to_vec(),
    ));
    source.write("00000.tar", &tar(&files));
    let rows = source.rows();
    assert_eq!(rows[3].status, "failed_to_download");
    let malformed: Vec<bool> = rows.iter().map(|row| row.malformed.is_some()).collect();
    assert_eq!(malformed, [false, false, false, false, true, true, true]);
    assert_eq!(
        rows[4].malformed.as_deref(),
        Some("sample 4: neither .json nor .txt")
    );
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_costs_its_sample_and_folders_in_folders_are_read() {
    let source = Source::new();
    for (name, bytes) in files() {
        source.write(&format!("00000/{name}"), &bytes);
        source.write(&format!("00000/d.jpg/{name}"), &bytes);
    }
    let _socket = std::os::unix::net::UnixListener::bind(source.join("captions/00000/7.jpg"))
        .expect("a socket");
    source.write("00000/7.txt", b"Mira Castellan");
    let rows = source.rows();
    assert_eq!(rows.len(), 7);
    let faults: Vec<_> = rows
        .iter()
        .filter_map(|row| row.malformed.as_deref())
        .collect();
    assert_eq!(faults, ["sample 7: 7.jpg is no regular file"]);
    let images = SourceImages::open(&source.manifest()).expect("images");
    let address = rows[0].image_at.as_deref().expect("an address");
    let (origin, _) = address.rsplit_once('#').expect("a place");
    let found = images.read(&[&format!("{origin}#7.jpg")], 10_000);
    assert!(
        matches!(&found[0], Err(ImageError::Changed { reason, .. }) if reason.contains("regular"))
    );
}

#[test]
fn a_manifest_that_maps_the_columns_reads_the_metadata_as_before() {
    let source =
        Source::with("path = \"captions\"\ncolumns = { url = \"url\", caption = \"caption\" }");
    source.write("00000.tar", &tar(&files()));
    describe(&source);
    let shards = source.shards();
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0].partition.to_string(), "shard-00000");
}

#[test]
fn a_shard_that_changed_is_no_image() {
    let source = Source::new();
    source.write("00000.tar", &tar(&files()));
    let address = source.rows()[1].image_at.clone().expect("an address");
    let mut bytes = tar(&files());
    bytes.drain(..1024);
    source.write("00000.tar", &bytes);
    let images = SourceImages::open(&source.manifest()).expect("images");
    let found = images
        .read(&[&address], 10_000)
        .remove(0)
        .expect_err("no image");
    assert!(found.to_string().contains("no file begins here"), "{found}");
}
