//! CLIP's own vocabulary, which is part of the program: a model in one file brings none.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::bpe::{BytePairs, END_OF_WORD, byte_symbols, split_pair};
use laioncele_nn::{Error, Result};

/// The merges, one a line, the first the most important (NOTICE says where they are from).
const MERGES: &[u8] = include_bytes!("../../data/merges.txt.gz");

/// The vocabulary and merges of every CLIP of OpenAI and OpenCLIP: byte symbols, the same at the
/// end of a word, one entry for each merge, start and end.
pub(super) fn byte_pairs(place: &Path, unk: &str) -> Result<BytePairs> {
    let mut text = String::new();
    let mut merges = GzDecoder::new(MERGES);
    merges
        .read_to_string(&mut text)
        .map_err(|source| Error::Io {
            path: place.into(),
            source,
        })?;
    let merges: Vec<(String, String)> = text.lines().filter_map(split_pair).collect();
    let mut vocabulary = HashMap::with_capacity(merges.len() + 514);
    let mut add = |entry: String| {
        let id = vocabulary.len() as u32;
        vocabulary.entry(entry).or_insert(id);
    };
    let symbols = ordered_symbols();
    symbols.iter().for_each(|c| add(c.to_string()));
    symbols
        .iter()
        .for_each(|c| add(format!("{c}{END_OF_WORD}")));
    merges.iter().for_each(|(a, b)| add(format!("{a}{b}")));
    add("<|startoftext|>".into());
    add("<|endoftext|>".into());
    BytePairs::new(place, vocabulary, merges, unk)
}

/// The bytes that stand for themselves come first.
fn ordered_symbols() -> Vec<char> {
    let symbols = byte_symbols();
    let (own, others): (Vec<char>, Vec<char>) = symbols.iter().partition(|c| **c <= 'ÿ');
    [own, others].concat()
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;

    /// Ids as CLIP's tokenizers of Hugging Face give them.
    #[test]
    fn ids_are_those_of_clip() {
        let first = Tokenizer::built_in("<|endoftext|>").expect("a tokenizer");
        let second = Tokenizer::built_in("!").expect("a tokenizer");
        let text = "a portrait of a person, it's 2048!";
        let one = first.encode(text);
        assert_eq!(one.ids[..6], [49406, 320, 5352, 539, 320, 2533]);
        assert_eq!((one.ids.len(), one.ids[76]), (77, 49407));
        let two = second.encode(text);
        assert_eq!(two.ids[76], 0);
        assert_eq!(two.ids[..6], one.ids[..6]);
        assert_eq!(first.largest_id(), 49407);
        // The mark is a token of its own where the padding is that mark.
        let at = one.token_count;
        assert_eq!((one.ids[at], two.ids[at]), (256, 0));
    }
}
