//! The VAE's tensors by LDM's names.

use laioncele_nn::{Seen, Stored};

/// Where LDM has the tensor `ours` of a VAE of `levels` resolutions.
pub(super) fn ldm(ours: &str, levels: usize) -> Stored {
    let (name, seen) = renamed(ours, levels).unwrap_or_else(|| (ours.to_owned(), Seen::Whole));
    Stored { name, seen }
}

fn renamed(ours: &str, levels: usize) -> Option<(String, Seen)> {
    let (side, rest) = ours.split_once('.')?;
    if side != "encoder" && side != "decoder" {
        return None;
    }
    if let Some(rest) = rest.strip_prefix("conv_norm_out.") {
        return Some((format!("{side}.norm_out.{rest}"), Seen::Whole));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.") {
        return middle(side, rest);
    }
    let (blocks, rest) = rest.split_once('.')?;
    let (block, rest) = rest.split_once('.')?;
    let block: usize = block.parse().ok()?;
    let (stack, sampler, block) = match blocks {
        "down_blocks" => ("down", "downsample", block),
        // LDM counts its way up from the finest resolution.
        "up_blocks" => ("up", "upsample", levels.checked_sub(1 + block)?),
        _ => return None,
    };
    if let Some(rest) = rest.strip_prefix("resnets.") {
        let rest = rest.replace("conv_shortcut", "nin_shortcut");
        return Some((format!("{side}.{stack}.{block}.block.{rest}"), Seen::Whole));
    }
    let rest = rest.strip_prefix(sampler)?.strip_prefix("rs.0.conv.")?;
    let name = format!("{side}.{stack}.{block}.{sampler}.conv.{rest}");
    Some((name, Seen::Whole))
}

fn middle(side: &str, rest: &str) -> Option<(String, Seen)> {
    for (ours, theirs) in [("resnets.0.", "block_1"), ("resnets.1.", "block_2")] {
        if let Some(rest) = rest.strip_prefix(ours) {
            let rest = rest.replace("conv_shortcut", "nin_shortcut");
            return Some((format!("{side}.mid.{theirs}.{rest}"), Seen::Whole));
        }
    }
    let rest = rest.strip_prefix("attentions.0.")?;
    if let Some(rest) = rest.strip_prefix("group_norm.") {
        return Some((format!("{side}.mid.attn_1.norm.{rest}"), Seen::Whole));
    }
    let maps = [
        ("to_q.", "q"),
        ("to_k.", "k"),
        ("to_v.", "v"),
        ("to_out.0.", "proj_out"),
    ];
    maps.iter().find_map(|(ours, theirs)| {
        let rest = rest.strip_prefix(ours)?;
        // Its maps are 1 × 1 convolutions there.
        let seen = if rest == "weight" {
            Seen::Matrix
        } else {
            Seen::Whole
        };
        Some((format!("{side}.mid.attn_1.{theirs}.{rest}"), seen))
    })
}
