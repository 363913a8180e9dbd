//! spaCy's string ids (MurmurHash64A, reserved symbols) and thinc's rows of hash embeddings
//! (MurmurHash3).

use std::collections::HashMap;
use std::sync::LazyLock;

/// Constant tables of spaCy (MIT): reserved symbol names with their small ids, and base norms.
#[derive(serde::Deserialize)]
pub(crate) struct Constants {
    symbols: HashMap<String, u64>,
    pub(crate) base_norms: HashMap<String, String>,
}

/// The constants, read once.
pub(crate) static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    serde_json::from_str(include_str!("tables/symbols_and_norms.json"))
        .expect("a table compiled into the crate, read by every test")
});

/// The id of a string: 0 for the empty one, a symbol's small number, else its hash.
pub(crate) fn string_id(text: &str) -> u64 {
    if text.is_empty() {
        return 0;
    }
    CONSTANTS
        .symbols
        .get(text)
        .copied()
        .unwrap_or_else(|| murmur64a(text.as_bytes()))
}

/// MurmurHash64A with seed 1.
pub(crate) fn murmur64a(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 1 ^ (bytes.len() as u64).wrapping_mul(M);
    let blocks = bytes.chunks_exact(8);
    let tail = blocks.remainder();
    for block in blocks {
        let mut k = u64::from_le_bytes(std::array::from_fn(|i| block[i])).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let k = tail.iter().rev().fold(0, |k, b| k << 8 | u64::from(*b));
        hash = (hash ^ k).wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 47
}

/// Four 32-bit keys of an id: a MurmurHash3 128 of eight bytes.
pub(crate) fn embedding_keys(id: u64, seed: u64) -> [u32; 4] {
    let mix = |mut x: u64| {
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ x >> 33
    };
    let mut h1 = id
        .wrapping_mul(0x87c3_7b91_1142_53d5)
        .rotate_left(31)
        .wrapping_mul(0x4cf5_ad43_2745_937f);
    h1 ^= seed ^ 8;
    let mut h2 = seed ^ 8;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (mix(h1), mix(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1 as u32, (h1 >> 32) as u32, h2 as u32, (h2 >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_are_spacys() {
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../tests/fixtures/hash_vectors.json"))
                .expect("a fixture");
        for case in cases {
            let text = case["text"].as_str().expect("text");
            assert_eq!(
                string_id(text).to_string(),
                case["string_id"].as_str().expect("id"),
                "{text}"
            );
            let keys: Vec<u64> = case["rows"]["mm3_seed8"]
                .as_array()
                .expect("keys")
                .iter()
                .filter_map(serde_json::Value::as_u64)
                .collect();
            assert_eq!(
                embedding_keys(string_id(text), 8).map(u64::from).to_vec(),
                keys,
                "{text}"
            );
        }
    }
}
