//! The LoRA in a PhotoMaker file: one pair of matrices for each linear map of the U-Net's
//! attentions, under diffusers' names of early 2024 or PEFT's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use laioncele_nn::{TensorReport, Weights};
use laioncele_sdxl::UNet;

use crate::error::{Difference, Error, Result};

/// Maps by their names in a LoRA of diffusers' attention processors, and in the U-Net.
const MAPS: [(&str, &str); 4] = [
    ("to_q", "to_q"),
    ("to_k", "to_k"),
    ("to_v", "to_v"),
    ("to_out", "to_out.0"),
];

/// Down and up of one map.
#[derive(Debug, Default)]
struct Pair {
    /// [rank, in]
    down: Option<Tensor>,
    /// [out, rank]
    up: Option<Tensor>,
}

/// ΔW = up · down of each map, by its name in the U-Net.
#[derive(Debug)]
pub(super) struct AttentionLora(BTreeMap<String, Pair>);

impl AttentionLora {
    /// Loads all tensors `unet.…` below `w`; others are left over.
    ///
    /// # Errors
    /// A file that cannot be read, a tensor that is no matrix, a name that is no attention's.
    pub(super) fn load(path: &Path, w: &Weights) -> Result<Self> {
        let w = w.pp("unet");
        let names: Vec<(String, Vec<usize>)> = w
            .stored()
            .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
            .collect();
        let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
        for (name, shape) in names {
            let (Some((map, is_up)), [_, _]) = (place(&name), shape.as_slice()) else {
                return Err(Error::Foreign {
                    path: path.into(),
                    expected: "PhotoMaker V1",
                    found: format!("its LoRA has unet.{name} {shape:?}, which is no attention's"),
                });
            };
            let tensor = w.get(shape, &name)?;
            let pair = pairs.entry(map).or_default();
            let side = if is_up { &mut pair.up } else { &mut pair.down };
            *side = Some(tensor);
        }
        Ok(Self(pairs))
    }

    /// Adds it to the attentions of `unet`.
    ///
    /// # Errors
    /// [`Error::Tensors`]: maps that the U-Net does not have, or of other shapes.
    pub(super) fn merge_into(&self, path: &Path, unet: &mut UNet) -> Result<()> {
        self.check(path, unet)?;
        unet.add_to_attentions(|name, _| match self.0.get(name) {
            Some(pair) => pair.delta(),
            None => Ok(None),
        })
    }

    /// Whether it fits the attentions of `unet`, which stay as they are.
    ///
    /// # Errors
    /// As [`AttentionLora::merge_into`].
    pub(super) fn check(&self, path: &Path, unet: &mut UNet) -> Result<()> {
        let mut report = TensorReport::default();
        let mut left: BTreeSet<&str> = self.0.keys().map(String::as_str).collect();
        unet.add_to_attentions(|name, shape| {
            if let Some(pair) = self.0.get(name) {
                left.remove(name);
                pair.check(name, shape, &mut report);
            }
            Ok::<_, Error>(None)
        })?;
        let shape = |name: &str| {
            let pair = &self.0[name];
            let sides = [&pair.down, &pair.up].into_iter().flatten();
            let dims = sides.flat_map(|side| side.dims().to_vec());
            (name.to_owned(), dims.collect())
        };
        report.unexpected.extend(left.into_iter().map(shape));
        if report.is_empty() {
            return Ok(());
        }
        Err(Error::Tensors {
            path: path.into(),
            model: "the U-Net's attentions",
            difference: Difference(Box::new(report)),
        })
    }
}

impl Pair {
    /// Notes what does not fit a map of [output, input].
    fn check(&self, name: &str, [output, input]: [usize; 2], report: &mut TensorReport) {
        let (Some(down), Some(up)) = (&self.down, &self.up) else {
            let name = format!("{name} (down or up)");
            report.missing.push((name, vec![output, input]));
            return;
        };
        let rank = down.dims()[0];
        if down.dims() != [rank, input] || up.dims() != [output, rank] {
            let found = [down.dims(), up.dims()].concat();
            let wanted = vec![rank, input, output, rank];
            let name = format!("{name} (down, up)");
            report.misshapen.push((name, wanted, found));
        }
    }

    /// up · down in float32.
    fn delta(&self) -> Result<Option<Tensor>> {
        let (Some(down), Some(up)) = (&self.down, &self.up) else {
            return Ok(None);
        };
        let wide = |t: &Tensor| -> Result<Tensor> {
            let t = t.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            Ok(t.contiguous()?)
        };
        Ok(Some(wide(up)?.matmul(&wide(down)?)?))
    }
}

/// The map of the U-Net that a tensor changes, and whether it is its `up`.
fn place(name: &str) -> Option<(String, bool)> {
    let ends = [
        (".down.weight", false),
        (".up.weight", true),
        (".lora_A.weight", false),
        (".lora_B.weight", true),
    ];
    let (stem, is_up) = ends
        .into_iter()
        .find_map(|(end, is_up)| Some((name.strip_suffix(end)?, is_up)))?;
    let stem = stem.strip_suffix(".lora").unwrap_or(stem);
    let stem = stem.strip_suffix("_lora").unwrap_or(stem);
    let (layer, map) = match stem.strip_suffix(".0") {
        Some(stem) => stem.rsplit_once('.')?,
        None => stem.rsplit_once('.')?,
    };
    let layer = layer.strip_suffix(".processor").unwrap_or(layer);
    let (_, own) = MAPS.iter().find(|(theirs, _)| *theirs == map)?;
    let attention = matches!(layer.rsplit_once('.'), Some((_, "attn1" | "attn2")));
    attention.then(|| (format!("{layer}.{own}"), is_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_forms_are_one_map() {
        let map = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0";
        let layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn2";
        for (end, is_up) in [
            ("processor.to_out_lora.down.weight", false),
            ("processor.to_out_lora.up.weight", true),
            ("to_out.0.lora_A.weight", false),
            ("to_out.0.lora.up.weight", true),
        ] {
            let found = place(&format!("{layer}.{end}"));
            assert_eq!(found, Some((map.to_owned(), is_up)), "{end}");
        }
        for other in ["x", "conv_in.lora_A.weight", "a.attn1.to_x_lora.up.weight"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
