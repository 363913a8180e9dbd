//! The checksum of a record: BLAKE3 of its text up to there, in a last field of it, `checksum`. A record without one is of an
//! earlier program.

use super::Record;
use crate::digest::Digest;

/// What stands before the checksum, and after it.
const BEFORE: &[u8] = b",\n  \"checksum\": \"";
const AFTER: &[u8] = b"\"\n}";
/// The end of a record's text without one.
const END: &[u8] = b"\n}";

/// The text of `record` with its checksum.
///
/// # Errors
/// None that is known: a record always has a JSON form.
pub(super) fn sealed(record: &Record) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(record)?;
    if text.ends_with(END) {
        text.truncate(text.len() - END.len());
        let digest = Digest::of(&text).to_string();
        text.extend([BEFORE, digest.as_bytes(), AFTER].concat());
    }
    Ok(text)
}

/// What is wrong with a record's text, if its checksum is not that of it.
pub(super) fn flaw(text: &[u8]) -> Option<String> {
    let at = text
        .windows(BEFORE.len())
        .rposition(|found| found == BEFORE)?;
    let (content, seal) = text.split_at(at);
    let seal = seal[BEFORE.len()..].strip_suffix(AFTER);
    match seal == Some(Digest::of(content).to_string().as_bytes()) {
        true => None,
        false => Some("its bytes are not those that were written".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::key::KeyParts;
    use crate::names::StageName;
    use crate::partition::Partition;
    use crate::testing;

    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_is_found_or_ends_the_json() -> serde_json::Result<()> {
        let partition = Partition::Bucket(3);
        let mut record =
            testing::record("s", StageName::EncodeNames, partition, KeyParts::default());
        record.metrics.insert("a number".to_owned(), 0.5);
        let text = sealed(&record)?;
        assert_eq!(flaw(&text), None);
        assert_eq!(serde_json::from_slice::<Record>(&text)?, record);
        let sealed_at = text.len() - BEFORE.len() - AFTER.len() - 64;
        for at in 0..text.len() {
            let mut altered = text.clone();
            altered[at] ^= 1;
            let in_key = (sealed_at..sealed_at + BEFORE.len()).contains(&at);
            let found = flaw(&altered).is_some();
            let broken = serde_json::from_slice::<Record>(&altered).is_err();
            assert!(found || broken || in_key, "byte {at}");
        }
        // Of an earlier program.
        assert_eq!(flaw(&serde_json::to_vec_pretty(&record)?), None);
        Ok(())
    }
}
