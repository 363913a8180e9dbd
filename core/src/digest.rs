//! BLAKE3 digests: of bytes, and of named fields (task keys, ids).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 32-byte BLAKE3 digest; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of a file's bytes.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of_file(file: &Path) -> io::Result<Self> {
        let (mut file, mut buffer) = (File::open(file)?, vec![0; 1 << 18]);
        let mut bytes = ByteHasher::default();
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(bytes.finish()),
                read => bytes.add(&buffer[..read]),
            }
        }
    }

    /// The first 16 hexadecimal digits: enough for a file name inside one run.
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }

    /// The first eight bytes, little-endian.
    pub fn low_u64(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|i| self.0[i]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text)
            .map(|h| Self(*h.as_bytes()))
            .map_err(|e| format!("not a digest: `{text}` ({e})"))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The digest of bytes that come one after another: that of [`Digest::of`] of all of them.
#[derive(Default)]
pub struct ByteHasher(blake3::Hasher);

impl ByteHasher {
    /// Adds `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Hashes named fields; every name and value is length-prefixed, so different fields never give the same bytes.
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts a hash in its own `domain`, so that equal fields of different things differ.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.chunk(domain.as_bytes());
        hasher
    }

    /// Adds the bytes `value` under `name`.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.chunk(name.as_bytes());
        self.chunk(value);
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        self.bytes(name, &value.to_le_bytes())
    }

    /// Adds a digest.
    #[must_use]
    pub fn digest(self, name: &str, value: Digest) -> Self {
        self.bytes(name, &value.0)
    }

    /// The digest of all fields so far.
    pub fn finish(self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }

    fn chunk(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pinned: a digest that changes makes every task run again.
    #[test]
    fn key_hasher_never_changes() {
        let key = KeyHasher::new("test")
            .text("a", "b")
            .number("n", 7)
            .digest("d", Digest::of(b"bytes"))
            .finish();
        assert_eq!(
            key.to_string(),
            "3c58cfbf22a44dfd132a693c300ee6fe0bff75dd94d125992ff381dd78a14390"
        );
    }

    #[test]
    fn fields_do_not_run_together() {
        let key = |name, value| KeyHasher::new("test").text(name, value).finish();
        assert_ne!(key("a", "b"), key("ab", ""));
    }

    #[test]
    fn bytes_in_pieces_have_the_digest_of_all() {
        let mut bytes = ByteHasher::default();
        assert_eq!(bytes.finish(), Digest::of(b""));
        bytes.add(b"by");
        bytes.add(b"tes");
        assert_eq!(bytes.finish(), Digest::of(b"bytes"));
    }

    #[test]
    fn text_is_read_back() {
        let digest = Digest::of(b"bytes");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("bytes".parse::<Digest>().is_err());
    }
}
