//! The published dataset, read by other people's programs: no code of ours opens a file here.

use std::path::Path;
use std::process::Command;

use crate::sandbox::stderr;
use crate::test_run::TestRun;

/// Reads the folder as `datasets` and pyarrow users do; prints rows, people and pictures that
/// decode as their format.
const READ: &str = r#"
import json, sys
import pyarrow.dataset, pyarrow.parquet
folder = sys.argv[1]
table = pyarrow.dataset.dataset(folder, format="parquet", exclude_invalid_files=True).to_table()
features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
assert features["image"] == {"_type": "Image"}, features
assert set(features) == set(table.column_names)
pictures = table["image"].to_pylist()
jpeg = sum(p["bytes"][:2] == b"\xff\xd8" for p in pictures)
embedding = table.schema.field("name_embedding").type
# `datasets` reads pictures as pictures only if the column is declared as it declares one itself.
image = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
assert table.schema.field("image") == pyarrow.field("image", image), table.schema.field("image")
assert table.schema.field("face_box") == pyarrow.field("face_box", pyarrow.list_(pyarrow.float32(), 4))
print(json.dumps(dict(
    rows=table.num_rows,
    people=len(set(table["name_id"].to_pylist())),
    jpeg=jpeg,
    width=embedding.list_size,
    item=str(embedding.value_type),
    files=len(pyarrow.dataset.dataset(folder, format="parquet", exclude_invalid_files=True).files),
)))
"#;

/// What the script `code` prints, run by Python with pyarrow at hand.
pub(crate) fn python(code: &str, arguments: &[&Path]) -> Vec<u8> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pyarrow");
    assert!(
        library.join("complete").exists(),
        "pyarrow is not there: `make pyarrow` brings it"
    );
    let ended = Command::new("python3")
        .args(["-c", code])
        .args(arguments)
        .env("PYTHONPATH", library)
        .output()
        .expect("Python 3");
    assert!(ended.status.success(), "{}", stderr(&ended));
    ended.stdout
}

#[test]
fn pyarrow_reads_the_dataset() {
    let world = TestRun::finished(1);
    let printed = python(READ, &[&world.join("output/laioncele")]);
    let read: serde_json::Value = serde_json::from_slice(&printed).expect("JSON");
    let number = |name: &str| read[name].as_u64().expect("a number");
    assert_eq!(
        (number("width"), read["item"].as_str()),
        (8 * 128, Some("halffloat"))
    );
    assert!(number("people") > 0);
    assert!(number("rows") >= 5 * number("people"));
    assert!(number("jpeg") > 0 && number("jpeg") <= number("rows"));
    assert_eq!(number("files") as usize, shards(&world));
}

fn shards(world: &TestRun) -> usize {
    let files = std::fs::read_dir(world.join("output/laioncele")).expect("the dataset");
    let names = files.map(|f| f.expect("a file").file_name().into_string().expect("text"));
    names.filter(|name| name.ends_with(".parquet")).count()
}
