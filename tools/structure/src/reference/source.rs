//! The types of the repository's crates, by crate and name.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, ExprLit, Fields, Item, Lit, Meta, Stmt, Type};

/// A section of the manifest.
pub(super) struct Section {
    /// What stands between the brackets.
    pub name: String,
    /// The folder of its crate.
    pub krate: String,
    /// What it is about, without the name.
    pub docs: String,
    /// Its keys.
    pub fields: Vec<Field>,
}

/// A key.
#[derive(Clone)]
pub(super) struct Field {
    /// As a manifest has it.
    pub name: String,
    /// Its type in Rust.
    pub kind: Type,
    /// What it means.
    pub docs: String,
    /// What it is when it is not given.
    pub default: Option<Default>,
}

/// Where a default comes from.
#[derive(Clone)]
pub(super) enum Default {
    /// The type's own.
    OfType,
    /// Code.
    Code(Expr),
}

/// An enum's word in a manifest, what it means, and its name in Rust.
#[derive(Clone)]
pub(super) struct Word {
    pub variant: String,
    pub word: String,
    pub is_default: bool,
}

/// An enum that a key may be of.
pub(super) struct Enum {
    /// Its variants without fields.
    pub words: Vec<Word>,
    /// Whether serde's derive reads these words.
    pub derived: bool,
    /// What its variants hold, if serde tries one after the other.
    pub either: Vec<Type>,
}

/// Types and constants of one crate.
#[derive(std::default::Default)]
struct Krate {
    structs: BTreeMap<String, (String, Vec<Field>)>,
    enums: BTreeMap<String, Enum>,
    docs: BTreeMap<String, String>,
    constants: BTreeMap<String, Expr>,
}

/// All that was read.
pub(super) struct Source {
    crates: BTreeMap<String, Krate>,
    sections: Vec<Section>,
}

impl Source {
    /// Reads every crate that a manifest may be read by.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let mut source = Self {
            crates: BTreeMap::new(),
            sections: Vec::new(),
        };
        let mut folders = vec!["core".to_owned(), "inference".to_owned(), String::new()];
        for layer in ["models", "stages"] {
            for entry in std::fs::read_dir(root.join(layer))? {
                folders.push(format!("{layer}/{}", entry?.file_name().to_string_lossy()));
            }
        }
        folders.sort();
        for folder in folders {
            let mut files = Vec::new();
            rust_files(&root.join(&folder).join("src"), &mut files)?;
            files.sort();
            for file in files {
                source.file(&folder, &file)?;
            }
        }
        Ok(source)
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// The fields of a struct, looked for in its own crate first.
    pub(super) fn fields(&self, krate: &str, name: &str) -> Option<&[Field]> {
        self.find(krate, |k| k.structs.get(name))
            .map(|(_, fields)| fields.as_slice())
    }

    /// An enum, looked for in its own crate first.
    pub(super) fn choice(&self, krate: &str, name: &str) -> Option<&Enum> {
        self.find(krate, |k| k.enums.get(name))
    }

    /// What a type's documentation says.
    pub(super) fn docs(&self, krate: &str, name: &str) -> Option<&str> {
        self.find(krate, |k| k.docs.get(name)).map(String::as_str)
    }

    /// A constant's value.
    pub(super) fn constant(&self, krate: &str, name: &str) -> Option<&Expr> {
        self.find(krate, |k| k.constants.get(name))
    }

    fn find<'a, T>(
        &'a self,
        krate: &str,
        get: impl Fn(&'a Krate) -> Option<&'a T>,
    ) -> Option<&'a T> {
        self.crates
            .get(krate)
            .and_then(&get)
            .or_else(|| self.crates.values().find_map(get))
    }

    fn file(&mut self, folder: &str, path: &Path) -> io::Result<()> {
        let text = std::fs::read_to_string(path)?;
        let invalid = |e: syn::Error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {e}", path.display()),
            )
        };
        let items = syn::parse_file(&text).map_err(invalid)?.items;
        let krate = self.crates.entry(folder.to_owned()).or_default();
        for item in &items {
            match item {
                Item::Const(c) => {
                    krate
                        .constants
                        .insert(c.ident.to_string(), (*c.expr).clone());
                }
                Item::Enum(e) => {
                    krate.docs.insert(e.ident.to_string(), docs(&e.attrs));
                    krate.enums.insert(e.ident.to_string(), choice(e));
                }
                Item::Struct(s) => {
                    let text = docs(&s.attrs);
                    let fields = fields(s, &items);
                    if let Some((name, docs)) = section(&text)
                        && derives(&s.attrs, "Deserialize")
                    {
                        let fields = fields.clone();
                        self.sections.push(Section {
                            name,
                            krate: folder.to_owned(),
                            docs,
                            fields,
                        });
                    }
                    krate.docs.insert(s.ident.to_string(), text.clone());
                    if derives(&s.attrs, "Deserialize") {
                        krate.structs.insert(s.ident.to_string(), (text, fields));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The name in `` `[name]` `` at the start of a documentation, or before `of the manifest`, and the rest.
fn section(docs: &str) -> Option<(String, String)> {
    let plain = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'))
    };
    if let Some((before, name)) = docs
        .strip_suffix("]` of the manifest.")
        .and_then(|d| d.rsplit_once(": `["))
    {
        return plain(name).then(|| (name.to_owned(), format!("{before}.")));
    }
    let (name, rest) = docs.strip_prefix("`[")?.split_once("]`")?;
    let rest = rest.trim_start_matches([':', '.', ';', ',', ' ']).trim();
    let mut letters = rest.chars();
    let rest = letters
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect());
    plain(name).then(|| (name.to_owned(), rest))
}

fn fields(item: &syn::ItemStruct, items: &[Item]) -> Vec<Field> {
    let Fields::Named(named) = &item.fields else {
        return Vec::new();
    };
    let whole = serde(&item.attrs)
        .contains_key("default")
        .then(|| default_of(&item.ident.to_string(), items));
    named
        .named
        .iter()
        .filter_map(|field| {
            let serde = serde(&field.attrs);
            if serde.contains_key("skip") || serde.contains_key("skip_deserializing") {
                return None;
            }
            let rust = field.ident.as_ref()?.to_string();
            let own = match serde.get("default") {
                Some(Some(function)) => Some(Default::Code(result_of(function, items)?)),
                Some(None) => Some(Default::OfType),
                None => None,
            };
            let from_whole = || {
                let values = whole.as_ref()?;
                Some(values.get(&rust).map_or(Default::OfType, |e| Default::Code(e.clone())))
            };
            let optional = matches!(&field.ty, Type::Path(p) if p.path.segments.last().is_some_and(|s| s.ident == "Option"));
            Some(Field {
                name: serde.get("rename").cloned().flatten().unwrap_or_else(|| rust.clone()),
                kind: field.ty.clone(),
                docs: docs(&field.attrs),
                default: own.or_else(from_whole).or(optional.then_some(Default::OfType)),
            })
        })
        .collect()
}

/// The fields of the struct expression that `impl Default` of a type ends with; none where it is derived.
fn default_of(name: &str, items: &[Item]) -> BTreeMap<String, Expr> {
    let of_type = |i: &&syn::ItemImpl| {
        let is_default = i.trait_.as_ref().is_some_and(|t| t.0.is_ident("Default"));
        is_default && matches!(&*i.self_ty, Type::Path(p) if p.path.is_ident(name))
    };
    let implementations = items
        .iter()
        .filter_map(|i| if let Item::Impl(i) = i { Some(i) } else { None });
    let body = implementations
        .filter(of_type)
        .flat_map(|i| &i.items)
        .find_map(|item| match item {
            syn::ImplItem::Fn(f) => f.block.stmts.last(),
            _ => None,
        });
    match body {
        Some(Stmt::Expr(Expr::Struct(value), None)) => value
            .fields
            .iter()
            .filter_map(|f| match &f.member {
                syn::Member::Named(name) => Some((name.to_string(), f.expr.clone())),
                syn::Member::Unnamed(_) => None,
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// What a function of this file returns.
fn result_of(function: &str, items: &[Item]) -> Option<Expr> {
    items.iter().find_map(|item| match item {
        Item::Fn(f) if f.sig.ident == function => match f.block.stmts.last() {
            Some(Stmt::Expr(value, None)) => Some(value.clone()),
            _ => None,
        },
        _ => None,
    })
}

fn choice(item: &syn::ItemEnum) -> Enum {
    let attributes = serde(&item.attrs);
    let style = attributes
        .get("rename_all")
        .cloned()
        .flatten()
        .unwrap_or_default();
    let untagged = attributes.contains_key("untagged");
    Enum {
        words: item
            .variants
            .iter()
            .filter(|v| matches!(v.fields, Fields::Unit))
            .map(|v| word(v, &style))
            .collect(),
        derived: derives(&item.attrs, "Deserialize"),
        either: item
            .variants
            .iter()
            .filter(|_| untagged)
            .flat_map(|v| &v.fields)
            .map(|f| f.ty.clone())
            .collect(),
    }
}

fn word(variant: &syn::Variant, style: &str) -> Word {
    let name = variant.ident.to_string();
    let word = match style {
        "lowercase" => name.to_lowercase(),
        "kebab-case" => cased(&name, '-'),
        _ => cased(&name, '_'),
    };
    Word {
        word: serde(&variant.attrs)
            .get("rename")
            .cloned()
            .flatten()
            .unwrap_or(word),
        is_default: variant.attrs.iter().any(|a| a.path().is_ident("default")),
        variant: name,
    }
}

/// `TwoWords` → `two_words`.
fn cased(name: &str, between: char) -> String {
    let mut text = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            text.push(between);
        }
        text.extend(c.to_lowercase());
    }
    text
}

fn derives(attributes: &[Attribute], name: &str) -> bool {
    let list = |a: &&Attribute| a.path().is_ident("derive");
    attributes.iter().filter(list).any(|a| match &a.meta {
        Meta::List(list) => list
            .tokens
            .clone()
            .into_iter()
            .any(|t| t.to_string() == name),
        _ => false,
    })
}

/// What `#[serde(…)]` says: each word with its text, if it has one.
fn serde(attributes: &[Attribute]) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        // An attribute of another form than `word`, `word = "text"` or `word(…)` is none that this page needs.
        let _ = attribute.parse_nested_meta(|meta| {
            let word = meta
                .path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default();
            let text = match meta.value() {
                Ok(value) => Some(value.parse::<syn::LitStr>()?.value()),
                Err(_) => None,
            };
            found.insert(word, text);
            Ok(())
        });
    }
    found
}

/// A documentation comment as one paragraph, links to code as code; what comes after a heading is left out.
fn docs(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) = &pair.value
        {
            lines.push(text.value().trim().to_owned());
        }
    }
    let before_heading = lines.iter().take_while(|l| !l.starts_with('#'));
    let text = before_heading
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ");
    text.replace("[`", "`")
        .replace("`]", "`")
        .replace("`[`", "`[")
        .trim()
        .to_owned()
}
