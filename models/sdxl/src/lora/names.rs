//! Every name under which a LoRA may speak of a module: looked up, never taken apart, since
//! underscores cannot be.

use std::collections::HashMap;

use laioncele_nn::Shapes;

use crate::checkpoint::ldm_name;
use crate::unet::UNetConfig;

/// The parts that a LoRA may change, as our names begin.
pub(crate) const UNET: &str = "unet";
pub(crate) const TEXT_1: &str = "text_encoder";
pub(crate) const TEXT_2: &str = "text_encoder_2";

/// The linear maps and convolutions of a model.
#[derive(Debug, Default)]
pub(crate) struct ModuleNames {
    /// Our name, `unet.mid_block.…` without `.weight` → the weight's shape.
    shapes: HashMap<String, Vec<usize>>,
    /// A name in a file → our name.
    names: HashMap<String, String>,
    /// Width of the texts.
    pub context: usize,
}

impl ModuleNames {
    /// The modules of a U-Net and both text encoders.
    pub(crate) fn new(unet: &Shapes, config: &UNetConfig, texts: [&Shapes; 2]) -> Self {
        let mut names = Self {
            context: config.cross_attention_dim,
            ..Self::default()
        };
        for (module, shape) in modules(unet) {
            names.add_unet(module, shape, config);
        }
        for (part, shapes) in [TEXT_1, TEXT_2].into_iter().zip(texts) {
            for (module, shape) in modules(shapes).filter(|(m, _)| !m.contains("embedding")) {
                names.add_text(part, module, shape);
            }
        }
        names
    }

    /// Our name of the module that a file calls `name`, with its weight's shape.
    pub(crate) fn find(&self, name: &str) -> Option<(&str, &[usize])> {
        let ours = self.names.get(name)?;
        Some((ours, self.shapes.get(ours)?))
    }

    fn add_unet(&mut self, module: &str, shape: &[usize], config: &UNetConfig) {
        let ours = format!("{UNET}.{module}");
        let mut add = |name: String| {
            self.names.insert(name, ours.clone());
        };
        add(ours.clone());
        add(module.to_owned());
        add(underscored("lora_unet_", module));
        if let Some(ldm) = ldm_name(module, config) {
            add(underscored("lora_unet_", &ldm));
        }
        // diffusers before 0.20: `attn1.processor.to_q`, and `to_out` for `to_out.0`.
        if let Some((block, map)) = module.rsplit_once(".to_")
            && let Some((_, "attn1" | "attn2")) = block.rsplit_once('.')
        {
            let map = map.trim_end_matches(".0");
            add(format!("{block}.processor.to_{map}"));
            add(format!("{UNET}.{block}.processor.to_{map}"));
        }
        self.shapes.insert(ours, shape.to_vec());
    }

    fn add_text(&mut self, part: &str, module: &str, shape: &[usize]) {
        let ours = format!("{part}.{module}");
        let mut add = |name: String| {
            self.names.insert(name, ours.clone());
        };
        add(ours.clone());
        let prefixes: &[&str] = match part {
            TEXT_1 => &["lora_te1_", "lora_te_"],
            _ => &["lora_te2_"],
        };
        for prefix in prefixes {
            add(underscored(prefix, module));
        }
        let map = module.rsplit_once(".self_attn.");
        if let Some((layer, map)) = map.and_then(|(l, m)| Some((l, m.strip_suffix("_proj")?))) {
            add(format!("{part}.{layer}.self_attn.to_{map}"));
        }
        self.shapes.insert(ours, shape.to_vec());
    }
}

/// The weights of linear maps and convolutions, without `.weight`.
fn modules(shapes: &Shapes) -> impl Iterator<Item = (&str, &[usize])> {
    shapes.iter().filter_map(|(name, shape)| {
        let module = name.strip_suffix(".weight")?;
        matches!(shape.len(), 2 | 4).then_some((module, shape.as_slice()))
    })
}

fn underscored(prefix: &str, module: &str) -> String {
    format!("{prefix}{}", module.replace('.', "_"))
}
