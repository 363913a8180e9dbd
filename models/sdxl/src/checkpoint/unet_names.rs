//! The U-Net's tensors by LDM's names: one numbered list of convolutions, ResNets and samplers.

use crate::unet::UNetConfig;

/// LDM's name of a tensor or module of the U-Net; `None` for one that LDM does not have.
pub(crate) fn ldm_name(ours: &str, config: &UNetConfig) -> Option<String> {
    for (name, theirs) in [
        ("conv_in", "input_blocks.0.0"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
        ("mid_block.attentions.0", "middle_block.1"),
    ] {
        if let Some(rest) = below(ours, name) {
            return Some(format!("{theirs}{rest}"));
        }
    }
    for (name, theirs) in [
        ("mid_block.resnets.0", "middle_block.0"),
        ("mid_block.resnets.1", "middle_block.2"),
    ] {
        if let Some(rest) = below(ours, name) {
            return Some(format!("{theirs}{}", in_resnet(rest)?));
        }
    }
    let (side, rest) = ours.split_once('.')?;
    let (block, rest) = number(rest)?;
    let (list, rest) = rest.split_once('.')?;
    let (at, rest) = number(rest)?;
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!(".{rest}")
    };
    match side {
        "down_blocks" => down(config, block, list, at, &rest),
        "up_blocks" => up(config, block, list, at, &rest),
        _ => None,
    }
}

fn down(config: &UNetConfig, block: usize, list: &str, at: usize, rest: &str) -> Option<String> {
    let before = |levels: usize| -> usize {
        let levels = config.levels.iter().take(levels);
        levels.map(|level| level.layers + 1).sum()
    };
    let layer = 1 + at + before(block);
    Some(match list {
        "resnets" => format!("input_blocks.{layer}.0{}", in_resnet(rest)?),
        "attentions" => format!("input_blocks.{layer}.1{rest}"),
        "downsamplers" => {
            let rest = rest.strip_prefix(".conv")?;
            format!("input_blocks.{}.0.op{rest}", before(block + 1))
        }
        _ => return None,
    })
}

fn up(config: &UNetConfig, block: usize, list: &str, at: usize, rest: &str) -> Option<String> {
    let before = |levels: usize| -> usize {
        let levels = config.levels.iter().rev().take(levels);
        levels.map(|level| level.layers + 1).sum()
    };
    let layer = at + before(block);
    Some(match list {
        "resnets" => format!("output_blocks.{layer}.0{}", in_resnet(rest)?),
        "attentions" => format!("output_blocks.{layer}.1{rest}"),
        "upsamplers" => {
            let rest = rest.strip_prefix(".conv")?;
            let level = config.levels.iter().rev().nth(block)?;
            // Behind the ResNet and, where the block has it, its attention.
            let place = if level.up_depths.is_some() { 2 } else { 1 };
            let last = before(block + 1).checked_sub(1)?;
            format!("output_blocks.{last}.{place}.conv{rest}")
        }
        _ => return None,
    })
}

/// What follows `name` in a tensor's or module's name: nothing, or a point and more.
fn below<'a>(ours: &'a str, name: &str) -> Option<&'a str> {
    let rest = ours.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with('.')).then_some(rest)
}

/// A number and what follows it after a point.
fn number(text: &str) -> Option<(usize, &str)> {
    let (number, rest) = text.split_once('.').unwrap_or((text, ""));
    Some((number.parse().ok()?, rest))
}

/// `.conv1.weight` → `.in_layers.2.weight`.
fn in_resnet(rest: &str) -> Option<String> {
    let parts = [
        (".norm1", ".in_layers.0"),
        (".conv1", ".in_layers.2"),
        (".time_emb_proj", ".emb_layers.1"),
        (".norm2", ".out_layers.0"),
        (".conv2", ".out_layers.3"),
        (".conv_shortcut", ".skip_connection"),
    ];
    parts.iter().find_map(|(ours, theirs)| {
        let rest = below(rest, ours)?;
        Some(format!("{theirs}{rest}"))
    })
}
