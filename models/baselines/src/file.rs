//! A baseline's file before its numbers are read: what it is, by its first bytes and its tensors'
//! names.

use std::io::Read;
use std::path::Path;

use laioncele_nn::{LoadOptions, Weights};

use crate::error::{Error, Result};

/// Opens a file of weights.
///
/// # Errors
/// [`Error::Pickle`]; a file that cannot be read, or is no whole safetensors file.
pub(crate) fn open(path: &Path, options: &LoadOptions) -> Result<Weights> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(9).read_to_end(&mut start));
    read.map_err(|source| Error::Io {
        path: path.into(),
        source,
    })?;
    if is_pickle(&start) {
        return Err(Error::Pickle { path: path.into() });
    }
    Ok(Weights::open_file(path, options)?)
}

/// Whether these are the first bytes of pickled tensors: a zip archive, or a bare pickle. They could
/// also be the length of a safetensors header, which a brace follows.
fn is_pickle(start: &[u8]) -> bool {
    (start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80")) && start.get(8) != Some(&b'{')
}

/// The shape of the tensor `name`, if it is there.
pub(crate) fn shape<'a>(w: &'a Weights, name: &str) -> Option<&'a [usize]> {
    let mut stored = w.stored();
    let found = stored.find(|(stored, _)| *stored == name);
    found.map(|(_, shape)| shape)
}

/// Whether a tensor's name begins with `start`.
pub(crate) fn has(w: &Weights, start: &str) -> bool {
    w.stored().any(|(name, _)| name.starts_with(start))
}

/// What a file is that is not what was expected, as far as its tensors' names tell.
pub(crate) fn told(w: &Weights) -> String {
    let kinds = [
        ("id_encoder.qformer_perceiver.", "a PhotoMaker V2"),
        ("id_encoder.", "a PhotoMaker"),
        ("fuse_module.", "a PhotoMaker"),
        ("ip_adapter.", "an IP-Adapter"),
        ("lora_unet_", "a LoRA"),
        ("lora_te", "a LoRA"),
        ("model.diffusion_model.", "a whole checkpoint"),
        ("vision_model.", "an image encoder"),
        ("text_model.", "a text encoder"),
        ("down_blocks.", "a U-Net"),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(start, _)| has(w, start)) {
        return format!("it seems to be {kind}");
    }
    let names: Vec<&str> = w.stored().take(3).map(|(name, _)| name).collect();
    match names.as_slice() {
        [] => "it has no tensors of numbers".to_owned(),
        names => format!("its tensors are {}, …", names.join(", ")),
    }
}

/// The numbers `0..n` of the names `PREFIX.I.…` that begin with `prefix`.
///
/// # Errors
/// A gap in them, or more than `most`.
pub(crate) fn count_of(
    w: &Weights,
    prefix: &str,
    most: usize,
) -> std::result::Result<usize, String> {
    let number = |(name, _): (&str, _)| {
        let rest = name.strip_prefix(prefix)?;
        rest.split('.').next()?.parse::<usize>().ok()
    };
    let mut numbers: Vec<usize> = w.stored().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.last() {
        Some(last) if last + 1 != numbers.len() || *last >= most => Err(format!(
            "{prefix}I has numbers up to {last}, {} of them",
            numbers.len()
        )),
        _ => Ok(numbers.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickles_are_told_by_their_first_bytes() {
        assert!(is_pickle(b"PK\x03\x04abcd!") && is_pickle(b"\x80\x02}q\0"));
        assert!(
            !is_pickle(b"\x80\x01\0\0\0\0\0\0{\"a\""),
            "a header of 384 bytes"
        );
        assert!(!is_pickle(b"") && !is_pickle(b"{"));
    }
}
