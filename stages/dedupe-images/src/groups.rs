//! Groups of copies among the photos of one name.

use std::collections::HashMap;

use image_hasher::ImageHash;

use crate::fingerprint::Fingerprint;

/// The photos of one name in groups of copies: two are in one group when a chain of photos, each
/// within `max_distance` bits of the next, joins them. Groups and members keep the order of
/// `photos`.
pub(crate) fn groups(photos: &[Fingerprint], max_distance: u32) -> Vec<Vec<&Fingerprint>> {
    let roots = if max_distance == 0 {
        by_equal_hash(photos)
    } else {
        by_distance(photos, max_distance)
    };
    let mut groups: Vec<Vec<&Fingerprint>> = Vec::new();
    let mut index: HashMap<usize, usize> = HashMap::new();
    for (photo, root) in photos.iter().zip(roots) {
        let at = *index.entry(root).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Vec::new());
        }
        groups[at].push(photo);
    }
    groups
}

fn by_equal_hash(photos: &[Fingerprint]) -> Vec<usize> {
    let mut first = HashMap::new();
    photos
        .iter()
        .enumerate()
        .map(|(i, p)| *first.entry(p.hash).or_insert(i))
        .collect()
}

/// All pairs: a name has thousands of photos at most.
fn by_distance(photos: &[Fingerprint], max_distance: u32) -> Vec<usize> {
    let hashes: Vec<_> = photos.iter().map(|p| image_hash(p.hash)).collect();
    let mut roots: Vec<usize> = (0..photos.len()).collect();
    for i in 0..photos.len() {
        for j in 0..i {
            if hashes[i].dist(&hashes[j]) <= max_distance {
                let (a, b) = (root(&mut roots, i), root(&mut roots, j));
                roots[a.max(b)] = a.min(b);
            }
        }
    }
    (0..photos.len()).map(|i| root(&mut roots, i)).collect()
}

/// Union-find with path halving.
fn root(roots: &mut [usize], mut i: usize) -> usize {
    while roots[i] != i {
        roots[i] = roots[roots[i]];
        i = roots[i];
    }
    i
}

fn image_hash(bits: u64) -> ImageHash<[u8; 8]> {
    ImageHash::from_bytes(&bits.to_be_bytes())
        .unwrap_or_else(|_| unreachable!("eight bytes make a 64-bit hash"))
}
