//! The layouts known by name, detected and told.

use arrow::array::{Float32Array, Int64Array};

use super::*;

/// A value for a column of this name, a text or a number.
fn column(name: &str) -> ArrayRef {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "url" => url_column(1),
        "text" | "caption" => texts(&["Mira Castellan"]),
        "nsfw" => texts(&["UNLIKELY"]),
        "status" => texts(&["success"]),
        "error_message" | "uid" | "license" | "image_phash" | "exif" => texts(&["x"]),
        "sha256" | "md5" | "key" => texts(&["abc"]),
        "hash" | "sample_id" | "id" | "width" | "height" | "original_width" | "original_height" => {
            Arc::new(Int64Array::from(vec![640]))
        }
        _ => Arc::new(Float32Array::from(vec![0.25])),
    }
}

/// Layout, the columns of a real file of it, and what is told.
const LAYOUTS: [(&str, &str, &str); 7] = [
    (
        "laion-2b",
        "URL TEXT WIDTH HEIGHT similarity hash punsafe pwatermark",
        "url = URL, caption = TEXT, width = WIDTH, height = HEIGHT, similarity = similarity, punsafe = punsafe, pwatermark = pwatermark, hash = hash",
    ),
    (
        "laion-400m",
        "SAMPLE_ID URL TEXT HEIGHT WIDTH LICENSE NSFW similarity",
        "url = URL, caption = TEXT, width = WIDTH, height = HEIGHT, similarity = similarity, nsfw = NSFW",
    ),
    (
        "relaion",
        "url caption similarity punsafe pwatermark width height",
        "url = url, caption = caption, width = width, height = height, similarity = similarity, punsafe = punsafe, pwatermark = pwatermark",
    ),
    (
        "datacomp",
        "uid url text original_width original_height clip_b32_similarity_score clip_l14_similarity_score sha256",
        "url = url, caption = text, width = original_width, height = original_height, similarity = clip_l14_similarity_score, hash = sha256",
    ),
    (
        "coyo",
        "id url text width height image_phash text_length num_faces clip_similarity_vitb32 clip_similarity_vitl14 nsfw_score_opennsfw2 nsfw_score_gantman watermark_score aesthetic_score_laion_v2",
        "url = url, caption = text, width = width, height = height, similarity = clip_similarity_vitl14, punsafe = nsfw_score_opennsfw2, pwatermark = watermark_score",
    ),
    (
        "img2dataset",
        "url caption key status error_message width height original_width original_height exif md5",
        "url = url, caption = caption, width = width, height = height",
    ),
    ("cc12m", "url caption", "url = url, caption = caption"),
];

#[test]
fn every_layout_is_told_by_its_columns_and_by_its_name() {
    for (layout, names, told) in LAYOUTS {
        let names: Vec<&str> = names.split(' ').collect();
        let columns: Vec<_> = names.iter().map(|name| (*name, column(name))).collect();
        for settings in ["", &format!("\nlayout = \"{layout}\"")] {
            let source = Source::with(&format!("path = \"captions\"{settings}"));
            source.parquet("0.parquet", &columns);
            // CC12M's own files have no header; with one, its names are anybody's.
            let known = if layout == "cc12m" && settings.is_empty() {
                format!("columns: {told}")
            } else {
                format!("layout {layout}: {told}")
            };
            assert_eq!(source.description(), known);
            assert_eq!(source.rows()[0].caption, "Mira Castellan");
        }
    }
}

#[test]
fn names_are_read_in_any_case() {
    for (layout, names, _) in LAYOUTS {
        for upper in [true, false] {
            let source = Source::new();
            let cased = |name: &str| match upper {
                true => name.to_ascii_uppercase(),
                false => name.to_ascii_lowercase(),
            };
            let names: Vec<String> = names.split(' ').map(cased).collect();
            let columns: Vec<_> = names.iter().map(|n| (n.as_str(), column(n))).collect();
            source.parquet("0.parquet", &columns);
            let told = source.description();
            assert!(
                layout == "cc12m" || told.starts_with(&format!("layout {layout}: ")),
                "{told}"
            );
            assert_eq!(source.rows()[0].url, urls(1)[0], "{layout}");
        }
    }
}

#[test]
fn a_mapping_overrides_the_layout_and_takes_columns_out() {
    let columns = ["URL", "TEXT", "similarity", "hash", "punsafe", "other"];
    let columns: Vec<_> = columns.iter().map(|name| (*name, column(name))).collect();
    let told = |settings: &str| {
        let source = Source::with(&format!("path = \"captions\"\n{settings}"));
        source.parquet("0.parquet", &columns);
        source.description()
    };
    assert_eq!(
        told("columns = { hash = \"\", punsafe = \"other\" }"),
        "layout laion-2b: url = URL, caption = TEXT, similarity = similarity, punsafe = other"
    );
    // As in every manifest before there were layouts: what is mapped is all that is read.
    assert_eq!(
        told("columns = { url = \"URL\", caption = \"text\" }"),
        "columns: url = URL, caption = TEXT"
    );
}

#[test]
fn scores_and_labels_are_read() {
    let source = Source::new();
    let names = "SAMPLE_ID URL TEXT HEIGHT WIDTH LICENSE NSFW similarity punsafe pwatermark";
    let columns: Vec<_> = names.split(' ').map(|name| (name, column(name))).collect();
    source.parquet("0.parquet", &columns);
    let row = &source.rows()[0];
    assert_eq!(
        (row.width, row.height, row.nsfw.as_str()),
        (Some(640.0), Some(640.0), "UNLIKELY")
    );
    assert_eq!(
        (row.similarity, row.punsafe, row.pwatermark),
        (Some(0.25), Some(0.25), Some(0.25))
    );
}
