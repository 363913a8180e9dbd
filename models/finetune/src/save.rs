//! What was trained, in the layouts that others read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use laioncele_sdxl::UNetConfig;
use serde_json::json;

use crate::error::{Error, Result};
use crate::file::{self, Entry};
use crate::network::Network;
use crate::parameters::{Parameter, Trained};

pub use crate::file::{Stored, replace};

/// Which programs a LoRA is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraLayout {
    /// diffusers' `load_lora_weights`: peft's names, float32.
    Diffusers,
    /// ComfyUI and A1111: kohya's names, float16.
    Webui,
}

/// The name under which diffusers looks for a LoRA.
pub const LORA_FILE: &str = "pytorch_lora_weights.safetensors";

/// The suffixes of a LoRA's parameters.
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// Writes the LoRA that `network` was trained with.
///
/// # Errors
/// A network without a LoRA; a file that cannot be written.
pub fn write_lora(path: &Path, network: &Network, layout: LoraLayout) -> Result<()> {
    let Trained::Lora { rank, alpha } = network.options().trained else {
        return Err(Error::File {
            path: path.into(),
            reason: "the whole U-Net was trained, there is no LoRA to write".into(),
        });
    };
    let entries = network.parameters().iter();
    match layout {
        LoraLayout::Diffusers => {
            let entries = entries.map(|p| entry(format!("unet.{}", p.name), p));
            let metadata = [
                ("format", "pt".to_owned()),
                ("lora_adapter_metadata", adapter_metadata(rank, alpha)),
            ];
            file::write(path, &metadata.into(), Stored::F32, entries.collect())
        }
        LoraLayout::Webui => {
            let mut tensors = Vec::new();
            for parameter in entries {
                tensors.extend(webui(network.config(), parameter, alpha));
            }
            let metadata = [
                ("format", "pt".to_owned()),
                ("ss_network_module", "networks.lora".to_owned()),
                ("ss_network_dim", rank.to_string()),
                ("ss_network_alpha", alpha.to_string()),
                ("ss_base_model_version", "sdxl_base_v1-0".to_owned()),
            ];
            file::write(path, &metadata.into(), Stored::F16, tensors)
        }
    }
}

fn entry(name: String, parameter: &Parameter) -> Entry<'_> {
    Entry {
        name,
        shape: parameter.dims().to_vec(),
        values: Box::new(|| parameter.values()),
    }
}

/// peft's configuration as diffusers keeps it in a LoRA's header.
fn adapter_metadata(rank: usize, alpha: f64) -> String {
    // A whole alpha is an integer in peft's own.
    let alpha = match alpha.fract() == 0.0 && alpha.abs() < 1e15 {
        true => json!(alpha as i64),
        false => json!(alpha),
    };
    let config = json!({
        "unet.alpha_pattern": {},
        "unet.bias": "none",
        "unet.lora_alpha": alpha,
        "unet.lora_bias": false,
        "unet.r": rank,
        "unet.rank_pattern": {},
        "unet.target_modules": ["to_k", "to_out.0", "to_q", "to_v"],
        "unet.use_dora": false,
        "unet.use_rslora": false,
    });
    format!("{config:#}")
}

/// A LoRA's parameter under kohya's name, and its module's alpha once.
fn webui<'a>(config: &UNetConfig, parameter: &'a Parameter, alpha: f64) -> Vec<Entry<'a>> {
    let Some(module) = parameter.name.strip_suffix(A) else {
        let module = parameter.name.strip_suffix(B).unwrap_or(&parameter.name);
        let name = format!("{}.lora_up.weight", kohya(config, module));
        return vec![entry(name, parameter)];
    };
    let module = kohya(config, module);
    let of_module = Entry {
        name: format!("{module}.alpha"),
        shape: Vec::new(),
        values: Box::new(move || Ok(vec![alpha as f32])),
    };
    let down = entry(format!("{module}.lora_down.weight"), parameter);
    vec![down, of_module]
}

/// kohya's name of a module inside an attention: the original layout's, joined by underscores.
fn kohya(config: &UNetConfig, module: &str) -> String {
    format!("lora_unet_{}", original(config, module).replace('.', "_"))
}

/// The original (LDM) layout's name of a module inside an attention. It numbers `conv_in`, all
/// ResNets and all downsamplers in one list, and so on the way up.
fn original(config: &UNetConfig, module: &str) -> String {
    let parts: Vec<&str> = module.splitn(5, '.').collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    match parts[..] {
        ["down_blocks", block, "attentions", layer, rest] => {
            let before: usize = config
                .levels
                .iter()
                .take(number(block))
                .map(|l| l.layers + 1)
                .sum();
            format!("input_blocks.{}.1.{rest}", 1 + number(layer) + before)
        }
        ["up_blocks", block, "attentions", layer, rest] => {
            let levels = config.levels.iter().rev().take(number(block));
            let before: usize = levels.map(|level| level.layers + 1).sum();
            format!("output_blocks.{}.1.{rest}", number(layer) + before)
        }
        ["mid_block", "attentions", "0", ..] => {
            let rest = module.strip_prefix("mid_block.attentions.0.");
            format!("middle_block.1.{}", rest.unwrap_or(module))
        }
        _ => module.to_owned(),
    }
}

/// Bytes of a U-Net's file above which diffusers cuts it into several.
pub const SHARD_BYTES: usize = 10_000_000_000;

/// Writes the trained U-Net as a Diffusers folder: `config`, the text of the configuration that it
/// was built by, and weights in files of at most `shard_bytes`.
///
/// # Errors
/// A network with a LoRA; a file that cannot be written.
pub fn write_unet(
    folder: &Path,
    network: &Network,
    config: &str,
    stored: Stored,
    shard_bytes: usize,
) -> Result<Vec<PathBuf>> {
    if network.options().trained != Trained::UNet {
        return Err(Error::File {
            path: folder.into(),
            reason: "a LoRA was trained, not the whole U-Net".into(),
        });
    }
    let shards = shards(network.parameters(), stored, shard_bytes);
    let count = shards.len();
    let mut files = Vec::new();
    let mut map = BTreeMap::new();
    for (i, shard) in shards.into_iter().enumerate() {
        let name = match count {
            1 => "diffusion_pytorch_model.safetensors".to_owned(),
            _ => format!(
                "diffusion_pytorch_model-{:05}-of-{count:05}.safetensors",
                i + 1
            ),
        };
        let metadata = [("format", "pt".to_owned())].into();
        let entries = shard.iter().map(|p| entry(p.name.clone(), p)).collect();
        file::write(&folder.join(&name), &metadata, stored, entries)?;
        map.extend(shard.iter().map(|p| (p.name.clone(), name.clone())));
        files.push(folder.join(name));
    }
    if count > 1 {
        let numbers = network
            .parameters()
            .iter()
            .map(|p| p.dims().iter().product::<usize>());
        let total = numbers.sum::<usize>() * stored.bytes();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        let path = folder.join("diffusion_pytorch_model.safetensors.index.json");
        write_text(&path, &format!("{index:#}\n"))?;
        files.push(path);
    }
    let path = folder.join("config.json");
    write_text(&path, config)?;
    files.push(path);
    Ok(files)
}

/// Parameters by file, in their order.
fn shards(parameters: &[Parameter], stored: Stored, most: usize) -> Vec<Vec<&Parameter>> {
    let mut shards: Vec<Vec<&Parameter>> = vec![Vec::new()];
    let mut size = 0;
    for parameter in parameters {
        let bytes = parameter.dims().iter().product::<usize>() * stored.bytes();
        if size > 0 && size + bytes > most {
            shards.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(last) = shards.last_mut() {
            last.push(parameter);
        }
    }
    shards
}

/// Writes a text, whole or not at all.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    replace(path, |file| {
        file.write_all(text.as_bytes())
            .map_err(Error::io("write", path))
    })
}
