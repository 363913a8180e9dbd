//! Parquet as others write it.

use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use ::parquet::file::properties::WriterVersion;
use arrow::array::{
    Array, BinaryArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, NullArray, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::*;

#[test]
fn every_codec_is_read() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
        // The deprecated one, in Hadoop's frames.
        Compression::LZ4,
    ];
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let source = Source::new();
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .build();
            let columns = [("url", url_column(2)), ("caption", texts(&CAPTIONS))];
            source.parquet_with("0.parquet", &columns, properties);
            assert_eq!(source.rows(), two_rows(), "{codec} {version:?}");
        }
    }
}

#[test]
fn every_type_of_text_is_read() {
    let plain = texts(&CAPTIONS);
    let large: LargeStringArray = CAPTIONS.into_iter().map(Some).collect();
    let view: StringViewArray = CAPTIONS.into_iter().map(Some).collect();
    let bytes: BinaryArray = CAPTIONS.into_iter().map(Some).collect();
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let forms: [ArrayRef; 5] = [
        plain.clone(),
        Arc::new(large),
        Arc::new(view),
        Arc::new(bytes),
        cast(&plain, &dictionary).expect("a dictionary"),
    ];
    for form in forms {
        let source = Source::new();
        let kind = form.data_type().clone();
        source.parquet("0.parquet", &[("url", url_column(2)), ("caption", form)]);
        assert_eq!(source.rows(), two_rows(), "{kind}");
    }
}

#[test]
fn every_kind_of_hash_is_text() {
    let raw = |length: usize| (0..length as u8).map(|b| b * 7).collect::<Vec<u8>>();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (md5, sha256) = (raw(16), raw(32));
    let fixed = |bytes: &[u8]| -> ArrayRef {
        let values = std::iter::once(bytes.to_vec());
        Arc::new(FixedSizeBinaryArray::try_from_iter(values).expect("a column"))
    };
    let cases: [(ArrayRef, String); 8] = [
        (
            Arc::new(Int64Array::from(vec![-7_439_822])),
            "-7439822".into(),
        ),
        (Arc::new(Int32Array::from(vec![5])), "5".into()),
        (
            Arc::new(Float64Array::from(vec![12_345_678.0])),
            "12345678".into(),
        ),
        (texts(&[&hex(&md5)]), hex(&md5)),
        (texts(&[&hex(&sha256)]), hex(&sha256)),
        (fixed(&sha256), hex(&sha256)),
        (fixed(&md5), hex(&md5)),
        (Arc::new(BinaryArray::from(vec![&sha256[..]])), hex(&sha256)),
    ];
    for (column, expected) in cases {
        let source = Source::new();
        let kind = column.data_type().clone();
        let captions = texts(&["x"]);
        source.parquet(
            "0.parquet",
            &[
                ("url", url_column(1)),
                ("caption", captions),
                ("hash", column),
            ],
        );
        assert_eq!(source.rows()[0].hash, expected, "{kind}");
    }
}

#[test]
fn a_column_of_nulls_has_no_values() {
    let source = Source::new();
    let nulls = || -> ArrayRef { Arc::new(NullArray::new(2)) };
    let columns = [
        ("url", url_column(2)),
        ("caption", texts(&CAPTIONS)),
        ("width", nulls()),
        ("hash", nulls()),
        ("nsfw", nulls()),
    ];
    source.parquet("0.parquet", &columns);
    assert_eq!(source.rows(), two_rows());
}

#[test]
fn a_file_without_rows_is_fine() {
    let source = Source::new();
    source.parquet("0.parquet", &[("url", texts(&[])), ("caption", texts(&[]))]);
    assert_eq!(source.rows(), []);
    let summary = source.summary();
    assert_eq!((summary.files, summary.rows, summary.uncounted), (1, 0, 0));
}
