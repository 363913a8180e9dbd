//! Lists of images: what is read of them and what is refused.

use super::*;

/// A folder with empty files of these names.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, b"").expect("a file");
    }
    folder
}

fn read(root: &Path, text: &str, unequal: bool) -> std::result::Result<Systems, String> {
    let list = root.join("systems.csv");
    std::fs::write(&list, text).expect("a file");
    Systems::read(&list, root, None, Checks { unequal }).map_err(|e| e.to_string())
}

const FILES: [&str; 6] = [
    "a/1.png", "a/2.png", "b/1.png", "b/2.png", "p/1.png", "ada.png",
];

const LIST: &str = "\u{feff}system,image,person,prompt,group,seed,reference\r\n\
    a,a/1.png,ada,\"a \"\"man\"\", sad\",emotion,1,ada.png\r\n\
    b,b/1.png,ada,\"a \"\"man\"\", sad\",emotion,1,\r\n\
    sdxl,./p/1.png,,\"a \"\"man\"\", sad\",emotion,1,\r\n";

#[test]
fn a_list_with_a_mark_and_crlf_is_read() {
    let folder = folder(&FILES);
    let systems = read(folder.path(), LIST, false).expect("systems");
    let names: Vec<&str> = systems.entries.iter().map(|e| e.system.as_str()).collect();
    assert_eq!(names, ["a", "b", "sdxl"]);
    let entry = &systems.entries[0];
    assert_eq!((entry.person.as_str(), entry.group()), ("ada", "emotion"));
    assert_eq!(entry.prompt(), Some("a \"man\", sad"));
    assert_eq!(
        systems.people["ada"].photos,
        [folder.path().join("ada.png")]
    );
}

#[test]
fn every_problem_is_named_with_its_line() {
    let folder = folder(&FILES);
    let head = "system,image,person,prompt,group,seed,reference\n";
    let refused = |rows: &str, expected: &[&str]| {
        let error = read(folder.path(), &format!("{head}{rows}"), false).expect_err(rows);
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
    };
    refused("a,a/9.png,ada,p,g,1,\n", &["line 2", "9.png is no file"]);
    refused(
        "a,a/1.png,ada,p,g,1,\na,a/../a/1.png,ada,p,g,2,\n",
        &["line 3", "listed twice", "first on line 2"],
    );
    refused(
        "a,a/1.png,ada,p,g,1,ada.png\na,a/2.png,bea,p,g,1,\n",
        &["line 3: `bea` has no reference photo"],
    );
    refused(
        "a,a/1.png,ada,p,g,1,\nb,b/1.png,bea,p,g,1,\n",
        &[
            "line 3: `a` has no image of the person `bea`",
            "`b` has no image of the person `ada`",
        ],
    );
    refused(
        "a,a/1.png,ada,p,g,1,\nb,b/1.png,ada,q,g,1,\n",
        &["`a` has no image of the prompt `q`"],
    );
    refused(
        "a,a/1.png,ada,p,style,1,\na,a/2.png,ada,p,stile,2,\n",
        &["line 3", "`stile` is unknown", "`style` on line 2"],
    );
    refused("a,a/1.png,ada,p,all,1,\n", &["line 2", "`all` is no group"]);
    refused("a,a/1.png,ada,p,g,x,\n", &["line 2", "`x` is no number"]);
    refused(
        "a,a/1.png,ada,p,g,1,gone.png\n",
        &["gone.png does not exist"],
    );
    refused(
        "a,a/1.png,,p,g,1,\nb,b/1.png,,p,g,1,\n",
        &["`a` and `b`", "only one system may be the base model"],
    );
    refused("", &["no image is listed"]);
    refused("a,a/1.png\n", &["line 2: 2 fields where the header has 7"]);
    let error = read(folder.path(), "picture\nx\n", false).expect_err("no column");
    assert!(error.contains("no column `image`"), "{error}");
}

#[test]
fn unequal_systems_are_read_when_that_is_asked_for() {
    let folder = folder(&FILES);
    let rows = "system,image,person,prompt\na,a/1.png,ada,p\nb,b/1.png,bea,q\n";
    assert!(read(folder.path(), rows, false).is_err());
    assert_eq!(
        read(folder.path(), rows, true)
            .expect("systems")
            .entries
            .len(),
        2
    );
}

#[test]
fn a_list_without_systems_is_of_one_and_its_base_has_a_name() {
    let folder = folder(&FILES);
    let rows = "image,person\na/1.png,ada\np/1.png,\n";
    let systems = read(folder.path(), rows, false).expect("systems");
    let names: Vec<&str> = systems.entries.iter().map(|e| e.system.as_str()).collect();
    assert_eq!(names, ["images", "sdxl"]);
}

#[test]
fn many_problems_are_counted() {
    let folder = folder(&[]);
    let rows: String = (0..50).map(|k| format!("{k}.png\n")).collect();
    let error = read(folder.path(), &format!("image\n{rows}"), false).expect_err("no files");
    assert!(error.contains("… and 30 more"), "{error}");
}
