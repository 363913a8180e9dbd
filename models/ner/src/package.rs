//! Reads a package's files: weights, actions, tokenizer exceptions, norms. Nothing but the shape is
//! taken for granted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rmpv::ValueRef;
use sha2::{Digest, Sha256};

use crate::error::NerError;
use crate::hash::string_id;
use crate::lexeme::Norms;
use crate::tokenizer::ExceptionToken;

/// The list of the files' SHA-256 sums, as `sha256sum` writes it. Where a package has one, its
/// files must be those.
pub const SUMS: &str = "SHA256SUMS";

/// The files of a package that are needed, relative to its folder.
pub const FILES: [&str; 4] = ["ner/model", "ner/moves", "tokenizer", "vocab/lookups.bin"];

macro_rules! labels {
    ($($name:ident = $word:literal: $doc:literal,)+) => {
        /// What an entity is: OntoNotes 5's eighteen labels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Label { $(#[doc = $doc] $name,)+ }

        impl Label {
            /// Every label.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word that spaCy uses.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

labels! {
    Cardinal = "CARDINAL": "A number that is nothing else.",
    Date = "DATE": "A date or period.",
    Event = "EVENT": "A named hurricane, battle, war, sports event.",
    Fac = "FAC": "A building, airport, highway, bridge.",
    Gpe = "GPE": "A country, city, state.",
    Language = "LANGUAGE": "A language.",
    Law = "LAW": "A document made into law.",
    Loc = "LOC": "A mountain range, a body of water.",
    Money = "MONEY": "A sum with its unit.",
    Norp = "NORP": "A nationality, religious or political group.",
    Ordinal = "ORDINAL": "First, second.",
    Org = "ORG": "A company, agency, institution.",
    Percent = "PERCENT": "A percentage.",
    Person = "PERSON": "A person, also a fictional one.",
    Product = "PRODUCT": "A vehicle, weapon, food.",
    Quantity = "QUANTITY": "A measurement.",
    Time = "TIME": "A time smaller than a day.",
    WorkOfArt = "WORK_OF_ART": "A title of a book or song.",
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Width of a token's vector between the layers.
pub(crate) const WIDTH: usize = 96;
/// Outputs of a maxout layer before the maximum: three pieces.
pub(crate) const WIDE: usize = 3 * WIDTH;
/// Width of a parser state's hidden layer.
pub(crate) const HIDDEN: usize = 64;
/// Labels.
pub(crate) const LABELS: usize = 18;
/// Actions: begin, in, last, unit of each label, the empty unit, out.
pub(crate) const ACTIONS: usize = 4 * LABELS + 2;

/// A hash embedding: rows of [`WIDTH`].
pub(crate) struct HashEmbedding {
    pub(crate) seed: u64,
    pub(crate) rows: Vec<f32>,
}

/// A maxout layer with its layer norm; `w` is [96 × 3 × inputs].
pub(crate) struct Maxout {
    pub(crate) w: Vec<f32>,
    pub(crate) b: Vec<f32>,
    pub(crate) gain: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// All parameters, as in the file.
pub(crate) struct Weights {
    /// Of norm, prefix, suffix, shape.
    pub(crate) embeddings: Vec<HashEmbedding>,
    /// The mix of the four embeddings, then the four encoder layers.
    pub(crate) maxouts: [Maxout; 5],
    /// [64 × 96] and its bias.
    pub(crate) projection: [Vec<f32>; 2],
    /// [3 × 64 × 2 × 64], its bias [64 × 2] and what stands for a missing feature [3 × 64 × 2].
    pub(crate) lower: [Vec<f32>; 3],
    /// [74 × 64] and its bias.
    pub(crate) upper: [Vec<f32>; 2],
}

/// The labels in the order of the actions: B-x at x, I-x at 18 + x, L-x at 36 + x, U-x at 54 + x,
/// the empty U at 72, O at 73.
pub(crate) type Actions = [Label; LABELS];

/// A package's content.
pub(crate) struct Package {
    pub(crate) weights: Weights,
    pub(crate) actions: Actions,
    pub(crate) exceptions: HashMap<String, Vec<ExceptionToken>>,
    pub(crate) norms: Norms,
}

impl Package {
    pub(crate) fn read(folder: &Path) -> Result<Self, NerError> {
        let sums = sums(folder)?;
        let read = |name| File::read(folder, name, &sums);
        let [model, moves, tokenizer, lookups] = FILES;
        Ok(Self {
            weights: read(model)?.parse(weights)?,
            actions: read(moves)?.parse(actions)?,
            exceptions: read(tokenizer)?.parse(exceptions)?,
            norms: read(lookups)?.parse(norms)?,
        })
    }
}

/// The files that [`Package::read`] reads: the list of sums where there is one.
pub(crate) fn files_read(folder: &Path) -> Vec<PathBuf> {
    let sums = folder.join(SUMS);
    let sums = sums.exists().then_some(sums);
    let files = FILES.iter().map(|name| folder.join(name));
    files.chain(sums).collect()
}

/// The listed sums by file name; none where the package has no list.
fn sums(folder: &Path) -> Result<HashMap<String, String>, NerError> {
    let path = folder.join(SUMS);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        other => other.map_err(|source| NerError::Read { path, source })?,
    };
    let entry = |line: &str| {
        let (sum, name) = line.split_once(char::is_whitespace)?;
        let name = name.trim_start_matches([' ', '*']).trim_start_matches("./");
        Some((name.trim_end().to_owned(), sum.to_lowercase()))
    };
    Ok(text.lines().filter_map(entry).collect())
}

/// A file in memory.
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl File {
    fn read(folder: &Path, name: &str, sums: &HashMap<String, String>) -> Result<Self, NerError> {
        let path = folder.join(name);
        let file = match std::fs::read(&path) {
            Ok(bytes) => Self { path, bytes },
            Err(source) => return Err(NerError::Read { path, source }),
        };
        match sums.get(name) {
            Some(listed) if *listed != file.sha256() => {
                Err(file.damaged(format!("{SUMS} has {listed}")))
            }
            _ => Ok(file),
        }
    }

    fn sha256(&self) -> String {
        let digest = Sha256::digest(&self.bytes);
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn damaged(&self, reason: String) -> NerError {
        NerError::Damaged {
            path: self.path.clone(),
            reason,
            sha256: self.sha256(),
        }
    }

    fn parse<T>(&self, read: impl FnOnce(&ValueRef) -> Result<T, Fault>) -> Result<T, NerError> {
        let mut rest = self.bytes.as_slice();
        let value = rmpv::decode::read_value_ref(&mut rest).map_err(|e| e.to_string());
        let whole = value.and_then(|v| {
            if rest.is_empty() {
                Ok(v)
            } else {
                Err("bytes after its end".to_owned())
            }
        });
        let result = whole.map_err(Fault::Damaged).and_then(|v| read(&v));
        result.map_err(|fault| match fault {
            Fault::Damaged(reason) => self.damaged(reason),
            Fault::Architecture {
                what,
                expected,
                found,
            } => NerError::Architecture {
                path: self.path.clone(),
                what,
                expected,
                found,
            },
        })
    }
}

/// What is wrong with a file's content.
enum Fault {
    Damaged(String),
    Architecture {
        what: String,
        expected: String,
        found: String,
    },
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

fn bytes<'v>(value: &'v ValueRef) -> Result<&'v [u8], String> {
    match value {
        ValueRef::String(s) => Ok(s.as_bytes()),
        ValueRef::Binary(b) => Ok(b),
        _ => Err("a string is missing".to_owned()),
    }
}

fn text<'v>(value: &'v ValueRef) -> Result<&'v str, String> {
    std::str::from_utf8(bytes(value)?).map_err(|e| e.to_string())
}

fn map<'v, 'a>(value: &'v ValueRef<'a>) -> Result<&'v [(ValueRef<'a>, ValueRef<'a>)], String> {
    match value {
        ValueRef::Map(entries) => Ok(entries),
        _ => Err("a map is missing".to_owned()),
    }
}

fn list<'v, 'a>(value: &'v ValueRef<'a>) -> Result<&'v [ValueRef<'a>], String> {
    match value {
        ValueRef::Array(items) => Ok(items),
        _ => Err("a list is missing".to_owned()),
    }
}

fn field<'v, 'a>(value: &'v ValueRef<'a>, name: &str) -> Result<&'v ValueRef<'a>, String> {
    let found = map(value)?
        .iter()
        .find(|(key, _)| bytes(key).is_ok_and(|k| k == name.as_bytes()));
    found
        .map(|(_, value)| value)
        .ok_or_else(|| format!("`{name}` is missing"))
}

fn number(value: &ValueRef) -> Result<u64, String> {
    match value {
        ValueRef::Integer(i) => i.as_u64().ok_or_else(|| "a number is negative".to_owned()),
        _ => Err("a number is missing".to_owned()),
    }
}

fn norms(file: &ValueRef) -> Result<Norms, Fault> {
    let entry = |(key, value): &(ValueRef, ValueRef)| Ok((number(key)?, string_id(text(value)?)));
    let entries = map(field(file, "lexeme_norm")?)?.iter().map(entry);
    Ok(entries.collect::<Result<_, String>>()?)
}

fn exceptions(file: &ValueRef) -> Result<HashMap<String, Vec<ExceptionToken>>, Fault> {
    const ORTH: u64 = 65;
    const NORM: u64 = 67;
    let token = |value: &ValueRef| {
        let mut token = ExceptionToken {
            text: String::new(),
            norm: None,
        };
        for (key, value) in map(value)? {
            match number(key)? {
                ORTH => text(value)?.clone_into(&mut token.text),
                NORM => token.norm = Some(text(value)?.to_owned()),
                other => return Err(format!("an exception sets attribute {other}")),
            }
        }
        Ok(token)
    };
    let entry = |(key, value): &(ValueRef, ValueRef)| {
        let whole = text(key)?.to_owned();
        let tokens: Vec<ExceptionToken> = list(value)?
            .iter()
            .map(token)
            .collect::<Result<_, String>>()?;
        let parts: String = tokens.iter().map(|t| t.text.as_str()).collect();
        if whole.is_empty() || parts != whole || tokens.iter().any(|t| t.text.is_empty()) {
            return Err(format!(
                "the tokens of exception {whole:?} are not its parts"
            ));
        }
        Ok((whole, tokens))
    };
    let entries = map(field(file, "exceptions")?)?.iter().map(entry);
    Ok(entries.collect::<Result<_, String>>()?)
}

fn actions(file: &ValueRef) -> Result<Actions, Fault> {
    let moves: HashMap<String, HashMap<String, i64>> =
        serde_json::from_str(text(field(file, "moves")?)?).map_err(|e| e.to_string())?;
    let ordered = |code: &str| {
        let mut labels: Vec<_> = moves.get(code).into_iter().flatten().collect();
        labels.sort_by_key(|(label, frequency)| std::cmp::Reverse((**frequency, label.as_str())));
        labels
            .into_iter()
            .map(|(label, _)| label.as_str())
            .collect::<Vec<_>>()
    };
    let begin = ordered("1");
    let same = [ordered("2"), ordered("3")].iter().all(|l| *l == begin);
    let unit = ordered("4");
    if !same
        || unit.split_last() != Some((&"", begin.as_slice()))
        || ordered("5") != [""]
        || !ordered("0").is_empty()
    {
        return Err(Fault::Architecture {
            what: "the set of actions".to_owned(),
            expected: "begin, in, last, unit of the same labels, and out".to_owned(),
            found: format!("begin of {begin:?}, unit of {unit:?}"),
        });
    }
    let label = |word: &&str| {
        let known = Label::ALL.iter().copied().find(|l| l.as_str() == *word);
        known.ok_or_else(|| format!("unknown label `{word}`"))
    };
    let labels: Vec<Label> = begin.iter().map(label).collect::<Result<_, String>>()?;
    labels.try_into().map_err(|l: Vec<_>| Fault::Architecture {
        what: "the number of labels".to_owned(),
        expected: LABELS.to_string(),
        found: l.len().to_string(),
    })
}

/// The model's nodes in the file's order.
struct Nodes<'v, 'a> {
    names: Vec<&'v str>,
    attributes: &'v [ValueRef<'a>],
    parameters: &'v [ValueRef<'a>],
}

impl Nodes<'_, '_> {
    /// The nodes called `name`, which must be `count`.
    fn called(&self, name: &str, count: usize) -> Result<Vec<usize>, Fault> {
        let found: Vec<_> = (0..self.names.len())
            .filter(|i| self.names[*i] == name)
            .collect();
        if found.len() == count {
            Ok(found)
        } else {
            Err(Fault::Architecture {
                what: format!("the number of layers `{name}`"),
                expected: count.to_string(),
                found: found.len().to_string(),
            })
        }
    }

    /// The parameter `name` of a node, in `shape`.
    fn array(&self, node: usize, name: &str, shape: &[u64]) -> Result<Vec<f32>, Fault> {
        let what = format!("parameter {name} of `{}` (node {node})", self.names[node]);
        let at = |reason: String| format!("{what}: {reason}");
        let value = field(&self.parameters[node], name).map_err(at)?;
        let found = self::shape(value).map_err(at)?;
        if found == shape {
            Ok(numbers(value, shape.iter().product()).map_err(at)?)
        } else {
            Err(Fault::Architecture {
                what: format!("the shape of {what}"),
                expected: format!("{shape:?}"),
                found: format!("{found:?}"),
            })
        }
    }

    fn attribute(&self, node: usize, name: &str) -> Result<u64, String> {
        let mut packed = bytes(field(&self.attributes[node], name)?)?;
        let value = rmpv::decode::read_value_ref(&mut packed).map_err(|e| e.to_string())?;
        number(&value)
    }
}

fn shape(array: &ValueRef) -> Result<Vec<u64>, String> {
    list(field(array, "shape")?)?.iter().map(number).collect()
}

fn numbers(array: &ValueRef, count: u64) -> Result<Vec<f32>, String> {
    let data = bytes(field(array, "data")?)?;
    if bytes(field(array, "type")?)? != b"<f4" || data.len() as u64 != 4 * count {
        let length = data.len();
        return Err(format!("{length} bytes instead of {count} float32"));
    }
    let numbers: Vec<f32> = data
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    if numbers.iter().all(|v| v.is_finite()) {
        Ok(numbers)
    } else {
        Err("not all finite".to_owned())
    }
}

fn weights(file: &ValueRef) -> Result<Weights, Fault> {
    let nodes = list(field(file, "nodes")?)?;
    let names = nodes
        .iter()
        .map(|n| text(field(n, "name")?))
        .collect::<Result<Vec<_>, String>>()?;
    let (attributes, parameters) = (list(field(file, "attrs")?)?, list(field(file, "params")?)?);
    if attributes.len() != names.len() || parameters.len() != names.len() {
        let reason = "its lists of nodes, attributes and parameters differ in length";
        return Err(Fault::Damaged(reason.to_owned()));
    }
    let nodes = Nodes {
        names,
        attributes,
        parameters,
    };
    // Packages with word vectors, as en_core_web_md, have one.
    nodes.called("static_vectors", 0)?;
    let (w, h) = (WIDTH as u64, HIDDEN as u64);
    let lower = nodes.called("precomputable_affine", 1)?[0];
    // In the file's order the output layer comes before the projection.
    let linear = nodes.called("linear", 2)?;
    Ok(Weights {
        embeddings: embeddings(&nodes)?,
        maxouts: maxouts(&nodes)?,
        projection: [
            nodes.array(linear[1], "W", &[h, w])?,
            nodes.array(linear[1], "b", &[h])?,
        ],
        lower: [
            nodes.array(lower, "W", &[3, h, 2, h])?,
            nodes.array(lower, "b", &[h, 2])?,
            nodes.array(lower, "pad", &[1, 3, h, 2])?,
        ],
        upper: [
            nodes.array(linear[0], "W", &[ACTIONS as u64, h])?,
            nodes.array(linear[0], "b", &[ACTIONS as u64])?,
        ],
    })
}

fn embeddings(nodes: &Nodes) -> Result<Vec<HashEmbedding>, Fault> {
    let mut embeddings = Vec::new();
    for (column, node) in nodes.called("hashembed", 4)?.into_iter().enumerate() {
        if nodes.attribute(node, "column")? != column as u64 {
            return Err(Fault::Architecture {
                what: "the order of embeddings".to_owned(),
                expected: "norm, prefix, suffix, shape".to_owned(),
                found: format!("column {column} elsewhere"),
            });
        }
        let rows = [5000, 1000, 2500, 2500][column];
        let rows = nodes.array(node, "E", &[rows, WIDTH as u64])?;
        embeddings.push(HashEmbedding {
            seed: nodes.attribute(node, "seed")?,
            rows,
        });
    }
    Ok(embeddings)
}

fn maxouts(nodes: &Nodes) -> Result<[Maxout; 5], Fault> {
    let (layers, norms) = (nodes.called("maxout", 5)?, nodes.called("layernorm", 5)?);
    let layer = |i: usize| -> Result<Maxout, Fault> {
        let w = WIDTH as u64;
        let inputs = if i == 0 { 4 * w } else { 3 * w };
        Ok(Maxout {
            w: nodes.array(layers[i], "W", &[w, 3, inputs])?,
            b: nodes.array(layers[i], "b", &[w, 3])?,
            gain: nodes.array(norms[i], "G", &[w])?,
            shift: nodes.array(norms[i], "b", &[w])?,
        })
    };
    Ok([layer(0)?, layer(1)?, layer(2)?, layer(3)?, layer(4)?])
}
