//! Mixtures, sheets, and what `doctor` says of files.

use std::fs;

use serde_json::Value;

use super::{Exported, about, done, pixels, references, refused, repository};
use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

/// Ratios, prompts and seeds of one call; each end is the person, and what was kept draws the mixture.
#[test]
fn mixtures_have_ratios_prompts_and_seeds() {
    let exported = Exported::new();
    let (folder, output) = (exported.path(), exported.output());
    let photo = references()[0].to_string_lossy().into_owned();
    done(
        folder,
        &[
            "names",
            "export",
            &photo,
            "--output",
            &output,
            "--to",
            "one.safetensors",
        ],
    );
    let ended = done(
        folder,
        &[
            "interpolate",
            "name-file:one.safetensors",
            "name:Mira Castellan",
            "--output",
            &output,
            "--ratios",
            "0,0.25,1",
            "--seeds",
            "5,6",
            "--prompt",
            "a portrait of a person",
            "--prompt",
            "a person",
            "--steps",
            "2",
            "--into",
            "mix",
            "--save-name",
            "mix.safetensors",
            "--json",
        ],
    );
    let list: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 12);
    assert_eq!(
        (&list[1]["share"], &list[1]["seed"]),
        (&Value::from(0.25), &Value::from(5))
    );
    assert_eq!(
        fs::read_dir(folder.join("mix")).expect("a folder").count(),
        12
    );
    let generate = |person: &str, into: &str| {
        done(
            folder,
            &[
                "generate", person, "--output", &output, "--steps", "2", "--seed", "6", "--prompt",
                "a person", "--into", into,
            ],
        );
        pixels(&folder.join(into).join("prompt-00-seed-6.png"))
    };
    let mixed =
        |share: &str| pixels(&folder.join(format!("mix/prompt-01-seed-6-share-{share}.png")));
    assert_eq!(generate("name-file:one.safetensors", "from"), mixed("0"));
    assert_eq!(generate("name:Mira Castellan", "to"), mixed("1"));
    assert_eq!(
        generate("name-file:mix-0.25.safetensors", "between"),
        mixed("0.25")
    );
    assert!(mixed("0.25") != mixed("0") && mixed("0.25") != mixed("1"));
    let said = about(&folder.join("mix/prompt-01-seed-6-share-0.25.png"));
    assert_eq!(said["person"]["to"]["name"], "Mira Castellan");
    assert_eq!(
        said["person"]["from"]["name_file"]["file"],
        "one.safetensors"
    );
    refused(
        folder,
        &["interpolate", "name:A B", "name:C D", "--ratios", "0,1.5"],
        2,
        &["from 0 to 1"],
    );
}

#[test]
fn sheets_show_names_prompts_and_settings() {
    let exported = Exported::new();
    let (folder, output) = (exported.path(), exported.output());
    let photo = references()[0].to_string_lossy().into_owned();
    let disentangle = [
        "sheet",
        "disentangle",
        "name:Mira Castellan",
        &photo,
        "--output",
        &output,
        "--steps",
        "2",
        "--prompt",
        "a portrait of a person",
        "--prompt",
        "a person",
        "--positions",
        "start,end,substitute",
        "--cell",
        "96",
    ];
    let ended = done(folder, &disentangle);
    assert_eq!(stdout(&ended).trim(), "generated/disentangle.png");
    let legend = |name: &str| {
        let text = fs::read(folder.join(format!("generated/{name}.json"))).expect("a legend");
        serde_json::from_slice::<Value>(&text).expect("JSON")
    };
    let said = legend("disentangle");
    assert_eq!(said["images"].as_array().expect("images").len(), 8);
    assert_eq!(said["rows"][0], "Mira Castellan: name before the prompt");
    assert_eq!(said["columns"][1], "a person");
    let naming = |at: usize| said["images"][at]["image"]["naming"].clone();
    // "a person" has two tokens.
    assert_eq!(
        [naming(0), naming(3), naming(4)],
        ["prepend", "at:3", "substitute"]
    );
    let sheet = pixels(&folder.join("generated/disentangle.png"));
    assert!(
        sheet.width() > 2 * 96 && sheet.height() > 4 * 96,
        "{:?}",
        sheet.dimensions()
    );
    // The first image is the one that `generate` draws.
    done(
        folder,
        &[
            "generate",
            "name:Mira Castellan",
            "--output",
            &output,
            "--steps",
            "2",
            "--into",
            "alone",
        ],
    );
    let alone = about(&folder.join("alone/prompt-00-seed-0.png"));
    assert_eq!(said["images"][0]["image"], alone);
    // Another experiment does not replace it, the same may.
    done(folder, &disentangle);
    refused(
        folder,
        &[&disentangle[..], &["--prompt", "a dog"]].concat(),
        2,
        &["disentangle.png is there already"],
    );

    let sweep = [
        "sheet", "sweep", &photo, "--output", &output, "--steps", "2", "--deltas", "1,4", "--etas",
        "10,mean",
    ];
    done(folder, &sweep);
    let said = legend("sweep");
    let settings: Vec<(f64, &Value)> = (said["images"].as_array().expect("images").iter())
        .map(|cell| {
            (
                cell["image"]["delta"].as_f64().expect("a number"),
                &cell["image"]["eta"],
            )
        })
        .collect();
    let (ten, mean) = (Value::from(10.0), Value::from("mean"));
    assert_eq!(
        settings,
        [(1.0, &ten), (1.0, &mean), (4.0, &ten), (4.0, &mean)]
    );
    refused(
        folder,
        &["sheet", "sweep", "name:Mira Castellan", "--output", &output],
        2,
        &["Equations 4 and 5"],
    );
}

/// Each single file with its kind and the rule; a missing one is a missing file.
#[test]
fn doctor_says_what_files_are() {
    let variants = repository("models/sdxl/tests/fixtures/variants");
    let lora = variants.join("lora/kohya.safetensors");
    let lora = format!("[[models.sdxl.lora]]\nfile = \"{}\"\n", lora.display());
    let text = FRAME.replace("[models.face]", &format!("{lora}\n[models.face]"));
    let sandbox = Sandbox::with_manifest(&text);
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml"]);
    let lines = stdout(&ended);
    let line = lines.lines().find(|line| line.contains("models.sdxl.lora"));
    let line = line.unwrap_or_else(|| panic!("no line in {lines}"));
    for words in ["a LoRA", "kohya's names", "BLAKE3 "] {
        assert!(line.contains(words), "no `{words}` in {line}");
    }
    let text = FRAME.replace(
        "folder = \"mini/sdxl-mini\"",
        "file = \"nowhere.safetensors\"",
    );
    sandbox.write("manifest.toml", text);
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml"]);
    let lines = stdout(&ended);
    assert!(
        lines.contains("nowhere.safetensors: there is no such file"),
        "{lines}"
    );
    refused(
        sandbox.path(),
        &["generate", "--model", "nowhere.safetensors", "--steps", "1"],
        3,
        &["nowhere.safetensors"],
    );
    let ended = sandbox.run(&["generate", "--model", "nowhere.safetensors"]);
    assert!(
        !stderr(&ended).contains("model_index.json"),
        "{}",
        stderr(&ended)
    );
}
