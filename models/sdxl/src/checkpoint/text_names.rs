//! The second text encoder's tensors by OpenCLIP's names.

use laioncele_nn::{Seen, Stored};

/// Where OpenCLIP has the tensor `ours`; `whole_projection` says that the projection is there under
/// its Linear's name, which keeps it as it is. `None` for a tensor that OpenCLIP does not have.
pub(super) fn open_clip(ours: &str, linear_projection: bool) -> Option<Stored> {
    let whole = |name: String| Stored {
        name,
        seen: Seen::Whole,
    };
    match ours {
        "text_model.embeddings.token_embedding.weight" => {
            return Some(whole("token_embedding.weight".into()));
        }
        "text_model.embeddings.position_embedding.weight" => {
            return Some(whole("positional_embedding".into()));
        }
        "text_projection.weight" if linear_projection => return Some(whole(ours.into())),
        "text_projection.weight" => {
            return Some(Stored {
                name: "text_projection".into(),
                seen: Seen::Transposed,
            });
        }
        _ => {}
    }
    if let Some(rest) = ours.strip_prefix("text_model.final_layer_norm.") {
        return Some(whole(format!("ln_final.{rest}")));
    }
    let rest = ours.strip_prefix("text_model.encoder.layers.")?;
    let (layer, rest) = rest.split_once('.')?;
    let layer = format!("transformer.resblocks.{layer}");
    for (part, name) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        let kind = rest.strip_prefix("self_attn.");
        if let Some(kind) = kind.and_then(|rest| rest.strip_prefix(name)?.strip_prefix('.')) {
            return Some(Stored {
                name: format!("{layer}.attn.in_proj_{kind}"),
                seen: Seen::Part(part, 3),
            });
        }
    }
    let names = [
        ("layer_norm1.", "ln_1."),
        ("layer_norm2.", "ln_2."),
        ("self_attn.out_proj.", "attn.out_proj."),
        ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."),
    ];
    names.iter().find_map(|(ours, theirs)| {
        let rest = rest.strip_prefix(ours)?;
        Some(whole(format!("{layer}.{theirs}{rest}")))
    })
}
