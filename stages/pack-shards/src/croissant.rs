//! `croissant.json`: the dataset's description in the Croissant format 1.1 of MLCommons, which data
//! catalogues and `mlcroissant` read. Written from the same schema, shards and settings as the card.

use arrow::datatypes::{DataType, Schema};
use serde_json::{Value, json};

use crate::card_head::splits;
use crate::index::Shard;
use crate::parquet_file::PICTURES;
use crate::settings::Settings;

const PARQUET: &str = "application/x-parquet";
/// The set of all Parquet files, and the rows in them.
const FILES: &str = "parquet-files";
const ROWS: &str = "default";
/// Terms of the context that are Croissant's under their own names.
const TERMS: [&str; 32] = [
    "annotation",
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "readLines",
    "recordSet",
    "references",
    "regex",
    "replace",
    "samplingRate",
    "sdVersion",
    "separator",
    "source",
    "subField",
    "transform",
    "unArchive",
];

/// The file: the same shards always give the same bytes.
pub(crate) fn croissant(
    settings: &Settings,
    schema: &Schema,
    shards: &[Shard],
    people: u64,
) -> String {
    let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
    let files = shards.iter().map(|shard| {
        json!({
            "@type": "cr:FileObject", "@id": shard.file, "name": shard.file, "contentUrl": shard.file,
            "contentSize": format!("{} B", shard.bytes), "encodingFormat": PARQUET, "sha256": shard.sha256,
        })
    });
    let patterns: Vec<String> = splits(shards)
        .iter()
        .map(|(split, _)| format!("{split}-*.parquet"))
        .collect();
    let set = json!({
        "@type": "cr:FileSet", "@id": FILES, "name": FILES, "encodingFormat": PARQUET,
        "description": "All shards; the split is the first word of a file's name.",
        "includes": patterns,
    });
    let fields: Vec<Value> = schema
        .fields()
        .iter()
        .map(|f| field(f.name(), f.data_type()))
        .collect();
    let text = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": "LaionCele",
        "description": format!("{people} people whom a text-to-image model knows by name: {rows} photos, each with the embedding of the name."),
        "license": licence(settings),
        "url": settings.url,
        "version": settings.version,
        "datePublished": settings.date_published,
        "citeAs": "MagicNaming: Consistent Identity Generation by Finding a 'Name Space' in T2I Diffusion Models",
        "creator": { "@type": "sc:Organization", "name": "laioncele" },
        "keywords": ["faces", "identity", "text-to-image"],
        "isLiveDataset": false,
        "rai:dataCollection": "Photos behind the urls of captioned images of the web, kept where the caption names a person whom the text-to-image model can draw and a face of the photo looks like its drawings.",
        "rai:dataPreprocessingProtocol": ["Names are found by a named entity recognizer, faces by a detector and a recognizer; copies are dropped by an average hash; the card has every step's counts."],
        "rai:personalSensitiveInformation": ["names", "faces", "captions about people"],
        "rai:dataBiases": ["The networks that chose names, portraits and photos err more for some groups of people than for others; people of whom the web has many photos are most of this dataset."],
        "rai:dataLimitations": ["A name of several people stands for the one that the model draws; people who look alike may remain.", "Urls may be gone."],
        "rai:dataUseCases": ["Research on identity in text-to-image models."],
        "distribution": files.chain([set]).collect::<Vec<_>>(),
        "recordSet": [{
            "@type": "cr:RecordSet", "@id": ROWS, "name": ROWS,
            "description": "A photo of a person. A photo of two people is two rows.",
            "key": [{ "@id": format!("{ROWS}/name_id") }, { "@id": format!("{ROWS}/image_id") }],
            "field": fields,
        }],
    });
    format!("{text:#}\n")
}

fn licence(settings: &Settings) -> String {
    match settings.licence.as_str() {
        "other" if settings.licence_link.contains("://") => settings.licence_link.clone(),
        "other" => settings.licence_name.clone(),
        known => format!("https://spdx.org/licenses/{known}"),
    }
}

fn field(name: &str, data_type: &DataType) -> Value {
    let mut source = json!({ "fileSet": { "@id": FILES }, "extract": { "column": name } });
    let mut field = json!({ "@type": "cr:Field", "@id": format!("{ROWS}/{name}"), "name": name });
    let kind = match data_type {
        _ if PICTURES.contains(&name) => {
            source["transform"] = json!({ "jsonPath": "bytes" });
            "sc:ImageObject"
        }
        DataType::FixedSizeList(item, length) => {
            field["isArray"] = json!(true);
            field["arrayShape"] = json!(length.to_string());
            kind(item.data_type())
        }
        DataType::List(item) => {
            field["isArray"] = json!(true);
            field["arrayShape"] = json!("-1");
            kind(item.data_type())
        }
        other => kind(other),
    };
    field["dataType"] = json!(kind);
    field["source"] = source;
    field
}

fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::UInt64 => "cr:UInt64",
        DataType::Int64 => "cr:Int64",
        DataType::UInt32 => "cr:UInt32",
        DataType::Float16 => "cr:Float16",
        DataType::Float32 => "cr:Float32",
        _ => "sc:Text",
    }
}

/// The JSON-LD context that the format prescribes.
fn context() -> Value {
    let mut context = json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": { "@id": "cr:data", "@type": "@json" },
        "dataType": { "@id": "cr:dataType", "@type": "@vocab" },
        "examples": { "@id": "cr:examples", "@type": "@json" },
        "repeated": "cr:repeated",
        "value": "cr:value",
    });
    for term in TERMS {
        context[term] = json!(format!("cr:{term}"));
    }
    context
}
