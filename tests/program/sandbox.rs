//! A folder of its own for each test, and the program run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::tables;

/// The smallest manifest: what must be said of a run, one caption file, the mini models (which the
/// sandbox links to).
pub(crate) const FRAME: &str = r#"[run]
seed = 1
buckets = 2

[source]
path = "captions"

[source.columns]
url = "URL"
caption = "TEXT"

[embedding_dims]
name_tokens = 8
name_channels = 128
face = 512
features = 128

[models.ner]
folder = "mini/ner/en_core_web_sm"

[models.sdxl]
folder = "mini/sdxl-mini"

[models.face]
detector = "mini/face/retinaface_mobilenet025_dynamic.onnx"
recognizer = "mini/face/faceplugin_fr_feature_512.onnx"
gender = "mini/face/face_api_age_gender.onnx"

[models.image_encoders]
first = "mini/sdxl-mini/image_encoder"
second = "mini/sdxl-mini/image_encoder_2"

[verify_portraits]
same_person = 0.5

[generate_samples]
references = "references"
"#;

/// A temporary folder in which the program is run.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// A folder with the models only.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini");
        std::os::unix::fs::symlink(models, folder.path().join("mini")).expect("a link");
        Self { folder }
    }

    /// A folder with `manifest.toml` and a source whose one file is hashed but never parsed.
    pub(crate) fn with_manifest(text: &str) -> Self {
        let sandbox = Self::new();
        sandbox.write("manifest.toml", text);
        sandbox.write("captions/a.parquet", "not read by these tests");
        sandbox.write("references/somebody.jpg", "neither is this");
        sandbox
    }

    /// A folder with `manifest.toml` and a source of these captions.
    pub(crate) fn with_captions(manifest: &str, captions: &[&[u8]]) -> Self {
        let sandbox = Self::with_manifest(manifest);
        let urls: Vec<String> = (0..captions.len())
            .map(|n| format!("https://pictures.example/{n}.jpg"))
            .collect();
        let columns = vec![
            ("URL", tables::texts(&urls)),
            ("TEXT", tables::bytes(captions)),
        ];
        tables::write(&sandbox.join("captions/a.parquet"), columns);
        sandbox
    }

    /// A folder with `manifest.toml` and a source of these urls and captions.
    pub(crate) fn with_rows(manifest: &str, rows: &[(String, String)]) -> Self {
        let sandbox = Self::with_manifest(manifest);
        let column = |of: fn(&(String, String)) -> &String| {
            let texts: Vec<&String> = rows.iter().map(of).collect();
            tables::texts(&texts)
        };
        let columns = vec![
            ("URL", column(|row| &row.0)),
            ("TEXT", column(|row| &row.1)),
        ];
        tables::write(&sandbox.join("captions/a.parquet"), columns);
        sandbox
    }

    /// With the ONNX Runtime library where the program looks for it.
    pub(crate) fn with_runtime(self) -> Self {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join(".onnxruntime");
        std::os::unix::fs::symlink(library, self.join(".onnxruntime")).expect("a link");
        self
    }

    /// The temporary folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("folders");
        }
        fs::write(path, text).expect("a file");
    }

    /// The program with `arguments`, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.path())
            .env_remove("RUST_LOG")
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program")
    }

    /// Runs the program; exit code, standard output and standard error as one text, fit for a
    /// snapshot.
    pub(crate) fn show(&self, arguments: &[&str]) -> String {
        self.render(&self.run(arguments))
    }

    /// What a finished program said, fit for a snapshot.
    pub(crate) fn render(&self, output: &Output) -> String {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let real = self.path().canonicalize().expect("the folder");
            let text = text.replace(&*real.to_string_lossy(), "[DIR]");
            text.replace(&*self.path().to_string_lossy(), "[DIR]")
        };
        let exit = match output.status.code() {
            Some(code) => code.to_string(),
            None => output.status.to_string(),
        };
        format!(
            "exit: {exit}\n--- stdout\n{}--- stderr\n{}",
            text(&output.stdout),
            text(&output.stderr)
        )
    }
}

/// The program under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_laioncele")
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
