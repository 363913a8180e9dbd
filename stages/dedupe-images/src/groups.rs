//! Groups of copies among the photos of one name.

use std::collections::HashMap;

use image_hasher::ImageHash;
use laioncele_core::table::PhotoPrint;

/// The photos of one name in groups of copies: two are in one group when a chain of photos, each
/// within `max_distance` bits of the next, joins them. Groups and members keep the order of
/// `photos`.
///
/// Linear in the photos for distance 0. Else hashes are cut into `max_distance` + 1 bands: two within the distance agree
/// in one, so only hashes that share a band are compared. Of hashes that are spread evenly few do; where all share one,
/// each is compared with each.
pub(crate) fn groups(photos: &[PhotoPrint], max_distance: u32) -> Vec<Vec<&PhotoPrint>> {
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut hashes = Vec::new();
    for photo in photos {
        numbers.entry(photo.average_hash).or_insert_with(|| {
            hashes.push(photo.average_hash);
            hashes.len() - 1
        });
    }
    let mut joined = Joined::new(hashes.len());
    if max_distance > 0 {
        join_near(&hashes, max_distance, &mut joined);
    }
    let mut groups: Vec<Vec<&PhotoPrint>> = Vec::new();
    let mut index: HashMap<usize, usize> = HashMap::new();
    for photo in photos {
        let root = joined.root(numbers[&photo.average_hash]);
        let at = *index.entry(root).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Vec::new());
        }
        groups[at].push(photo);
    }
    groups
}

/// Joins distinct hashes that are within the distance of each other.
fn join_near(hashes: &[u64], max_distance: u32, joined: &mut Joined) {
    let bands = (max_distance + 1).min(64);
    let mut sorted: Vec<(u64, usize)> = Vec::with_capacity(hashes.len());
    for band in 0..bands {
        let (first, end) = (band * 64 / bands, (band + 1) * 64 / bands);
        let mask = (u64::MAX >> (64 - (end - first))) << first;
        sorted.clear();
        sorted.extend(hashes.iter().enumerate().map(|(i, hash)| (hash & mask, i)));
        sorted.sort_unstable();
        for same in sorted.chunk_by(|a, b| a.0 == b.0) {
            for (at, (_, i)) in same.iter().enumerate() {
                for (_, j) in &same[..at] {
                    if image_hash(hashes[*i]).dist(&image_hash(hashes[*j])) <= max_distance {
                        joined.join(*i, *j);
                    }
                }
            }
        }
    }
}

fn image_hash(bits: u64) -> ImageHash<[u8; 8]> {
    ImageHash::from_bytes(&bits.to_be_bytes())
        .unwrap_or_else(|_| unreachable!("eight bytes make a 64-bit hash"))
}

/// Union-find with path halving; the smallest member is the root.
struct Joined(Vec<usize>);

impl Joined {
    fn new(members: usize) -> Self {
        Self((0..members).collect())
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
