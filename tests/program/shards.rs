//! The published dataset, read by other people's programs: no code of ours opens a file here.

use std::collections::BTreeMap;
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
for file in pyarrow.dataset.dataset(folder, format="parquet", exclude_invalid_files=True).files:
    groups = pyarrow.parquet.ParquetFile(file).metadata
    groups = [groups.row_group(k) for k in range(groups.num_row_groups)]
    for group in groups:
        columns = {group.column(k).path_in_schema: group.column(k) for k in range(group.num_columns)}
        assert columns["similarity"].statistics.has_min_max and columns["name_id"].has_offset_index, file
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

/// Reads the splits of another form; prints what the card and `croissant.json` say of them too.
const FORM: &str = r#"
import hashlib, json, pathlib, sys
import pyarrow, pyarrow.parquet
folder = pathlib.Path(sys.argv[1])
sides, faces = {}, 0
for file in sorted(folder.glob("*.parquet")):
    table = pyarrow.parquet.read_table(file)
    assert table.schema.field("image_id").type == pyarrow.string()
    assert table.schema.field("landmarks").type == pyarrow.list_(pyarrow.float32(), 10)
    assert table.schema.field("face_embedding").type == pyarrow.list_(pyarrow.float32(), 512)
    keys = list(zip(table["name_id"].to_pylist(), table["image_id"].to_pylist()))
    assert keys == sorted(set(keys)) and len(keys[0][0]) == 16
    for row in table.to_pylist():
        x0, y0, x1, y1 = row["face_box"]
        xs, ys = row["landmarks"][0::2], row["landmarks"][1::2]
        faces += x0 <= sum(xs) / 5 <= x1 and y0 <= sum(ys) / 5 <= y1
        assert row["aligned_face"]["bytes"][:4] == b"\x89PNG" and row["faces"] >= 1
        assert abs(sum(v * v for v in row["face_embedding"]) - 1) < 1e-4
    people, photos = sides.setdefault(file.name.split("-")[0], (set(), set()))
    people.update(a for a, _ in keys)
    photos.update(b for _, b in keys)
rows = {k: sum(pyarrow.parquet.read_metadata(f).num_rows for f in folder.glob(f"{k}-*.parquet")) for k in sides}
for a in sides:
    for b in sides:
        assert a == b or not (sides[a][0] & sides[b][0] or sides[a][1] & sides[b][1]), (a, b)
card = (folder / "README.md").read_text()
for split, count in rows.items():
    assert f"  - name: {split}\n" in card and f"    num_examples: {count}\n" in card, split
croissant = json.loads((folder / "croissant.json").read_text())
for item in croissant["distribution"]:
    if "sha256" in item:
        assert hashlib.sha256((folder / item["contentUrl"]).read_bytes()).hexdigest() == item["sha256"]
print(json.dumps(dict(rows=rows, faces=faces, files=len(list(folder.glob("*.parquet"))), tars=len(list(folder.glob("*.tar"))))))
"#;

/// Splits, text ids, further columns and tar files, then the plain form again: no step runs for either.
#[test]
fn another_form_is_published_without_a_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let plain = files(&world);
    let digests = world.digests("output");
    let section = "[pack_shards]\nids = \"text\"\nwebdataset = true\nvalidation = 0.2\ntest = 0.1\n\
         columns = [\"other_names\", \"faces\", \"landmarks\", \"face_embedding\", \"aligned_face\"]\n\n[train_encoder]";
    world.change_manifest("[train_encoder]", section);
    publish(&world);
    assert_eq!(world.digests("output"), digests);
    let printed = python(FORM, &[&world.join("output/laioncele")]);
    let read: serde_json::Value = serde_json::from_slice(&printed).expect("JSON");
    let rows = |split: &str| read["rows"][split].as_u64().expect("rows");
    let total = rows("train") + rows("validation") + rows("test");
    assert!(rows("train") > rows("validation") && rows("validation") > 0 && rows("test") > 0);
    assert_eq!(read["faces"].as_u64(), Some(total));
    assert_eq!(read["files"], read["tars"]);

    world.change_manifest(section, "[train_encoder]");
    publish(&world);
    assert_eq!(files(&world), plain);
}

fn publish(world: &TestRun) {
    let mut run = world.command(&["run", "--json", "--stage", "pack-shards"], "output");
    let ended = run.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
}

/// The published files with their sizes.
fn files(world: &TestRun) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(world.join("output/laioncele")).expect("the dataset");
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("a file");
        let size = entry.metadata().expect("its size").len();
        (entry.file_name().into_string().expect("text"), size)
    };
    entries.map(entry).collect()
}

fn shards(world: &TestRun) -> usize {
    let files = std::fs::read_dir(world.join("output/laioncele")).expect("the dataset");
    let names = files.map(|f| f.expect("a file").file_name().into_string().expect("text"));
    names.filter(|name| name.ends_with(".parquet")).count()
}
