//! Settings of the command line: `section.key=value` over what the manifest's file says.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

use super::Manifest;
use crate::error::CoreError;

/// How a text begins that has settings of the command line: a line for each, so that the text says what it was made from.
const HEAD: &str = "# --set ";

/// `section.key=value`: a path of TOML keys, and a TOML value. What is no TOML value is a text: `models.sdxl.folder=/data/sdxl`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    path: Vec<String>,
    value: Value,
}

impl Assignment {
    /// The keys, the section's first.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    fn key(&self) -> String {
        self.path.join(".")
    }

    /// Puts the value into `table`, with the tables above it.
    fn apply(&self, table: &mut Table) -> Result<(), String> {
        let (last, above) = self.path.split_last().ok_or("it names no key")?;
        let mut inner = table;
        for (depth, key) in above.iter().enumerate() {
            let entry = inner.entry(key.clone());
            let next = entry.or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(next) = next else {
                let value = self.path[..=depth].join(".");
                return Err(format!("{}: {value} is a value, not a section", self.key()));
            };
            inner = next;
        }
        if matches!(inner.get(last), Some(Value::Table(_))) && !self.value.is_table() {
            return Err(format!("{} is a section, not a value", self.key()));
        }
        inner.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("it has the form SECTION.KEY=VALUE")?;
        let (key, value) = (key.trim(), value.trim());
        let mut path = Vec::new();
        let mut inner: Table = toml::from_str(&format!("{key} = 0")).map_err(|_| {
            format!("`{key}` is no path of keys such as verify_images.same_person_photo")
        })?;
        while let Some((name, below)) = inner.into_iter().next() {
            path.push(name);
            inner = match below {
                Value::Table(table) => table,
                _ => Table::new(),
            };
        }
        if path.len() < 2 {
            return Err(format!(
                "`{key}` names no key of a section: SECTION.KEY=VALUE"
            ));
        }
        let value = parse_value(value)?;
        Ok(Self { path, value })
    }
}

/// A TOML value; what does not look like one is a text.
fn parse_value(text: &str) -> Result<Value, String> {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    match parsed {
        Ok(mut table) if table.len() == 1 && !text.contains('\n') => {
            table.remove("value").ok_or_else(|| "no value".to_owned())
        }
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
            Err(format!("`{text}` is no TOML value: {}", error.message()))
        }
        _ if text.contains('\n') => Err("a value has one line".to_owned()),
        _ => Ok(Value::from(text)),
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &String| {
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            match !key.is_empty() && key.chars().all(bare) {
                true => key.clone(),
                false => Value::from(key.as_str()).to_string(),
            }
        };
        let path: Vec<_> = self.path.iter().map(key).collect();
        write!(f, "{}={}", path.join("."), self.value)
    }
}

impl Manifest {
    /// This manifest with other settings, as if its file said them. Its text is then that of the settings, without the file's comments,
    /// after a line for each of `set` and for those that this manifest has already.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown section, a wrong key or type in the sections that are read here, a value where a section is.
    pub fn with_settings(&self, set: &[Assignment]) -> Result<Self, CoreError> {
        if set.is_empty() {
            return Ok(self.clone());
        }
        let fail = |reason: String| self.error(format!("--set: {reason}"));
        let mut table: Table = toml::from_str(&self.text).map_err(|e| fail(e.to_string()))?;
        let mut all: BTreeMap<Vec<String>, Assignment> = BTreeMap::new();
        for assignment in self.assigned().iter().chain(set) {
            assignment.apply(&mut table).map_err(fail)?;
            all.insert(assignment.path.clone(), assignment.clone());
        }
        let mut text: String = all.values().map(|a| format!("{HEAD}{a}\n")).collect();
        text += &toml::to_string(&table).map_err(|e| fail(e.to_string()))?;
        let set = Self::parse(&self.path, &text)?;
        Ok(Self {
            file: self.file.clone(),
            ..set
        })
    }

    /// The settings of the command line that it was made with.
    pub fn assigned(&self) -> Vec<Assignment> {
        let lines = self.text.lines().map_while(|line| line.strip_prefix(HEAD));
        lines.filter_map(|line| line.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = "# A remark.\n[run]\nseed = 1\n[source]\npath = \"captions\"\n[embedding_dims]\nname_tokens = 8\n\
                        name_channels = 128\nface = 512\nfeatures = 128\n[models.sdxl]\nfolder = \"sdxl\"\n";

    fn manifest() -> Manifest {
        Manifest::parse(Path::new("m.toml"), TEXT).expect("a manifest")
    }

    fn set(manifest: &Manifest, texts: &[&str]) -> Result<Manifest, String> {
        let parsed: Result<Vec<Assignment>, _> = texts.iter().map(|t| t.parse()).collect();
        manifest.with_settings(&parsed?).map_err(|e| e.to_string())
    }

    #[test]
    fn settings_are_those_of_a_file_that_says_them() -> Result<(), String> {
        let texts = [
            "run.seed = 7",
            "models.sdxl.folder=/data/sd xl",
            "source.columns.url = \"U=1\"",
            "generate_samples.prompts=[\"a\", \"b\"]",
        ];
        let found = set(&manifest(), &texts)?;
        let flat = found.flattened();
        for (key, value) in [
            ("run.seed", "7"),
            ("models.sdxl.folder", "\"/data/sd xl\""),
            ("source.columns.url", "\"U=1\""),
            ("generate_samples.prompts", "[\"a\", \"b\"]"),
            ("source.path", "\"captions\""),
        ] {
            assert_eq!(flat.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!((found.run.seed, found.path()), (7, Path::new("m.toml")));
        assert_ne!(found.digest(), manifest().digest());
        Ok(())
    }

    #[test]
    fn a_text_says_what_was_set_and_the_same_again_changes_nothing() -> Result<(), String> {
        let once = set(&manifest(), &["run.seed=7", "run.buckets=3"])?;
        let assigned: Vec<_> = once.assigned().iter().map(ToString::to_string).collect();
        assert_eq!(assigned, ["run.buckets=3", "run.seed=7"]);
        let again = once
            .with_settings(&once.assigned())
            .map_err(|e| e.to_string())?;
        assert_eq!(again.digest(), once.digest());
        let later = set(&once, &["run.seed=8"])?;
        assert_eq!((later.run.seed, later.run.buckets), (8, 3));
        assert_eq!(later.assigned().len(), 2);
        assert_eq!(
            manifest()
                .with_settings(&later.assigned())
                .map(|m| m.digest())
                .ok(),
            Some(later.digest())
        );
        Ok(())
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (text, word) in [
            ("run.seed", "SECTION.KEY=VALUE"),
            ("seed=1", "names no key of a section"),
            ("run..seed=1", "no path of keys"),
            ("run.seed=[1", "no TOML value"),
            ("run.sed=1", "did you mean `seed`?"),
            ("rnu.seed=1", "did you mean `run`?"),
            ("run.seed=one", "[run]"),
            ("run.seed.deep=1", "is a value"),
            ("models.sdxl=1", "is a section"),
            ("models.sdlx.folder=x", "did you mean `sdxl`?"),
            ("run.seed=1\nx.y=2", "one line"),
        ] {
            let error = set(&manifest(), &[text]).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
