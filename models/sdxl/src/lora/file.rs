//! One LoRA file: which of its tensors belong to which module, whatever tool wrote it.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_nn::TensorFile;

use super::difference::{Axis, Factors, Magnitude, Rule, difference};
use super::names::ModuleNames;
use super::peft::PeftSettings;
use crate::error::{Error, Result};

/// What a tensor of a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TensorRole {
    Down,
    Up,
    Mid,
    Alpha,
    /// DoRA's magnitudes as LyCORIS writes them.
    DoraScale,
    /// DoRA's magnitudes as PEFT writes them.
    PeftMagnitude,
}

/// The endings of tensors' names, by tool.
const ENDINGS: [(&str, TensorRole); 15] = [
    (".lora_down.weight", TensorRole::Down),
    (".lora_up.weight", TensorRole::Up),
    (".lora_mid.weight", TensorRole::Mid),
    (".alpha", TensorRole::Alpha),
    (".dora_scale", TensorRole::DoraScale),
    (".lora_A.weight", TensorRole::Down),
    (".lora_B.weight", TensorRole::Up),
    (".lora_magnitude_vector.weight", TensorRole::PeftMagnitude),
    (".lora_magnitude_vector", TensorRole::PeftMagnitude),
    (".lora.down.weight", TensorRole::Down),
    (".lora.up.weight", TensorRole::Up),
    (".lora_linear_layer.down.weight", TensorRole::Down),
    (".lora_linear_layer.up.weight", TensorRole::Up),
    ("_lora.down.weight", TensorRole::Down),
    ("_lora.up.weight", TensorRole::Up),
];

/// Other adapters: what their tensors' names have in them, and what they are called.
const OTHERS: [(&str, &str); 14] = [
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".oft_", "OFT"),
    (".on_input", "IA3"),
    (".a1.weight", "GLoRA"),
    (".a2.weight", "GLoRA"),
    (".b1.weight", "GLoRA"),
    (".b2.weight", "GLoRA"),
    (".diff_b", "whole differences (diff_b)"),
    (".diff", "whole differences (diff)"),
    (".w_norm", "differences of norms (w_norm)"),
    (".b_norm", "differences of norms (b_norm)"),
    ("lora_controlnet", "a control-LoRA"),
    (".lora_B.bias", "biases (lora_B.bias)"),
];

/// A LoRA file, held against a model.
#[derive(Debug)]
pub(crate) struct LoraFile {
    file: TensorFile,
    /// Our name → its tensors.
    modules: BTreeMap<String, Module>,
}

/// The tensors of one module, by their names in the file.
#[derive(Debug, Default)]
struct Module {
    /// What the file calls it.
    name: String,
    down: Option<String>,
    up: Option<String>,
    mid: Option<String>,
    alpha: Option<String>,
    magnitude: Option<(String, Rule)>,
    /// What the magnitudes are lengths of.
    axis: Option<Axis>,
    rank: usize,
    scale: f64,
}

impl LoraFile {
    /// Opens `path` and finds the module of each of its tensors.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::Lora`] of another kind of file or adapter, of names that
    /// the model does not have, of shapes that do not fit.
    pub(crate) fn open(path: &Path, names: &ModuleNames) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let refuse = |reason: String| Error::Lora {
            path: path.into(),
            reason,
        };
        check_texts(&file, names.context).map_err(refuse)?;
        let settings = PeftSettings::read(file.metadata()).map_err(refuse)?;
        let mut modules = collect(&file, names).map_err(refuse)?;
        if modules.is_empty() {
            return Err(refuse("holds no LoRA".into()));
        }
        for (ours, module) in &mut modules {
            (module.resolve(ours, &file, names, &settings)).map_err(refuse)?;
        }
        Ok(Self { file, modules })
    }

    /// Our names of the modules that it changes.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, module: &str) -> bool {
        self.modules.contains_key(module)
    }

    /// What it adds to the weight `w` of a module; `None` where it has nothing for it.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub(crate) fn difference(
        &self,
        module: &str,
        w: &[f32],
        shape: &[usize],
        strength: f64,
    ) -> Result<Option<Vec<f32>>> {
        let Some(module) = self.modules.get(module) else {
            return Ok(None);
        };
        let read = |name: &Option<String>| name.as_ref().map(|n| self.file.numbers(n)).transpose();
        let factors = Factors {
            down: read(&module.down)?.unwrap_or_default(),
            up: read(&module.up)?.unwrap_or_default(),
            mid: read(&module.mid)?,
            rank: module.rank,
            scale: module.scale as f32,
        };
        let magnitude = match (&module.magnitude, module.axis) {
            (Some((name, rule)), Some(axis)) => Some(Magnitude {
                lengths: self.file.numbers(name)?,
                axis,
                rule: *rule,
            }),
            _ => None,
        };
        let found = difference(w, shape, &factors, magnitude.as_ref(), strength as f32)?;
        if found.iter().all(|v| v.is_finite()) {
            return Ok(Some(found));
        }
        Err(Error::Lora {
            path: self.file.path().into(),
            reason: format!("{} gives numbers that are not finite", module.name),
        })
    }
}

/// Refuses a LoRA that was trained on texts of another width: its text part may fit perfectly.
fn check_texts(file: &TensorFile, context: usize) -> std::result::Result<(), String> {
    let takes_texts = |name: &str| {
        let maps = ["attn2.to_", "attn2_to_", "attn2.processor.to_"];
        let mut rests = maps.iter().filter_map(|map| name.split_once(map));
        rests.any(|(_, rest)| rest.starts_with(['k', 'v']))
    };
    for (name, tensor) in file.tensors() {
        if !takes_texts(name) || role(name).map(|(_, role)| role) != Some(TensorRole::Down) {
            continue;
        }
        let width = tensor.shape.get(1).copied().unwrap_or(0);
        if width == context {
            continue;
        }
        return Err(match width {
            768 => "is a LoRA for Stable Diffusion 1, not for SDXL".to_owned(),
            1024 => "is a LoRA for Stable Diffusion 2, not for SDXL".to_owned(),
            _ => format!("is a LoRA for texts {width} wide; this model's are {context}: {name}"),
        });
    }
    Ok(())
}

/// A tensor's module as the file calls it, and what it is of it.
fn role(name: &str) -> Option<(&str, TensorRole)> {
    let found = ENDINGS.iter().find_map(|(ending, role)| {
        let module = name.strip_suffix(ending)?;
        Some((module, *role))
    });
    let (module, role) = found?;
    Some((
        module.strip_prefix("base_model.model.").unwrap_or(module),
        role,
    ))
}

/// The tensors of every module.
fn collect(
    file: &TensorFile,
    names: &ModuleNames,
) -> std::result::Result<BTreeMap<String, Module>, String> {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    let (mut unknown, mut bundled) = (Vec::new(), 0);
    for name in file.tensors().keys() {
        if name.starts_with("bundle_emb.") {
            bundled += 1;
            continue;
        }
        if let Some((_, what)) = OTHERS.iter().find(|(part, _)| name.contains(part)) {
            return Err(format!(
                "holds {what} ({name}); LoRA, LoCon and DoRA are supported"
            ));
        }
        let Some((module, role)) = role(name) else {
            return Err(format!("is no LoRA: {name} is of no kind that is known"));
        };
        let Some((ours, _)) = names.find(module) else {
            unknown.push(module);
            continue;
        };
        let found = modules.entry(ours.to_owned()).or_default();
        if found.name.is_empty() {
            module.clone_into(&mut found.name);
        }
        if found.name != module {
            return Err(format!(
                "speaks of {ours} twice, as {} and {module}",
                found.name
            ));
        }
        found.put(role, name);
    }
    if bundled > 0 {
        let path = file.path().display();
        tracing::warn!("{path}: its {bundled} packed embeddings (bundle_emb) are not used");
    }
    unknown.dedup();
    if unknown.is_empty() {
        return Ok(modules);
    }
    let count = unknown.len();
    unknown.truncate(10);
    let list = unknown.join(", ");
    Err(format!(
        "speaks of {count} modules that this model does not have: {list}"
    ))
}

impl Module {
    fn put(&mut self, role: TensorRole, name: &str) {
        let name = name.to_owned();
        match role {
            TensorRole::Down => self.down = Some(name),
            TensorRole::Up => self.up = Some(name),
            TensorRole::Mid => self.mid = Some(name),
            TensorRole::Alpha => self.alpha = Some(name),
            TensorRole::DoraScale => self.magnitude = Some((name, Rule::Between)),
            TensorRole::PeftMagnitude => self.magnitude = Some((name, Rule::Inside)),
        }
    }

    /// Holds the shapes against the module's weight, and finds rank, scale and axis.
    fn resolve(
        &mut self,
        ours: &str,
        file: &TensorFile,
        names: &ModuleNames,
        settings: &PeftSettings,
    ) -> std::result::Result<(), String> {
        let (part, module) = ours.split_once('.').unwrap_or(("", ours));
        let called = &self.name;
        let (down, up) = match (&self.down, &self.up) {
            (Some(down), Some(up)) => (down, up),
            (None, Some(_)) => return Err(format!("{called} has lora_up without lora_down")),
            (Some(_), None) => return Err(format!("{called} has lora_down without lora_up")),
            (None, None) => return Err(format!("{called} has neither lora_down nor lora_up")),
        };
        let weight = names.find(ours).map_or(&[][..], |(_, shape)| shape);
        let shape = |name: &str| file.tensors()[name].shape.as_slice();
        let (down, up) = (shape(down), shape(up));
        let mid = self.mid.as_deref().map(shape);
        if !fits(weight, down, up, mid) {
            let mid = mid.map_or(String::new(), |mid| format!(" x {mid:?}"));
            return Err(format!(
                "{called}: {up:?}{mid} x {down:?} does not fit {weight:?}"
            ));
        }
        self.rank = down[0];
        self.scale = match &self.alpha {
            Some(alpha) => {
                let alpha = file.number(alpha).map_err(|error| error.to_string())?;
                f64::from(alpha) / self.rank as f64
            }
            None => settings.scale(part, module, self.rank)?,
        };
        match &self.magnitude {
            None if settings.is_dora(part) => {
                return Err(format!("{called} has no magnitudes, though {part} is DoRA"));
            }
            None => {}
            Some((name, rule)) => self.axis = Some(axis(called, shape(name), weight, *rule)?),
        }
        Ok(())
    }
}

/// Whether the factors' product is of the weight's shape.
fn fits(weight: &[usize], down: &[usize], up: &[usize], mid: Option<&[usize]>) -> bool {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let ([output, input, kernel @ ..], [rank, ..]) = (weight, down) else {
        return false;
    };
    let of_up = up.first() == Some(output) && count(up) == output * rank;
    let of_down = match mid {
        None => count(down) == rank * input * count(kernel),
        Some(_) => count(down) == rank * input,
    };
    let of_mid = mid.is_none_or(|mid| *mid == [&[*rank, *rank], kernel].concat());
    *rank > 0 && of_up && of_down && down.get(1) == Some(input) && of_mid
}

/// What magnitudes of this shape are lengths of.
fn axis(
    called: &str,
    found: &[usize],
    weight: &[usize],
    rule: Rule,
) -> std::result::Result<Axis, String> {
    let count: usize = found.iter().product();
    let of_input = rule == Rule::Between && found.first() == Some(&1) && weight[0] != 1;
    let (axis, expected) = match of_input {
        true => (Axis::Input, weight[1]),
        false => (Axis::Output, weight[0]),
    };
    match count == expected {
        true => Ok(axis),
        false => Err(format!(
            "{called}: magnitudes {found:?} do not fit {weight:?}"
        )),
    }
}
