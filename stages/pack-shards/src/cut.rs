//! Where a sequence of rows is cut into shards of equal size.

/// Cuts items of the given sizes into as few runs as none is much larger than `most`, each about the
/// same size; the items of each run. No run is empty; one run of nothing for no items.
pub(crate) fn cut(sizes: &[u64], most: u64) -> Vec<usize> {
    let total: u128 = sizes.iter().map(|size| u128::from(*size)).sum();
    let runs = total.div_ceil(u128::from(most.max(1))).max(1);
    let (mut cuts, mut items, mut sum) = (Vec::<usize>::new(), 0, 0u128);
    for size in sizes {
        items += 1;
        sum += u128::from(*size);
        let next = cuts.len() as u128 + 1;
        if next < runs && sum * runs >= total * next {
            cuts.push(std::mem::take(&mut items));
        }
    }
    if items > 0 || cuts.is_empty() {
        cuts.push(items);
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_of_equal_size() {
        assert_eq!(cut(&[60, 60, 10, 90, 200, 1], 100), [2, 2, 1, 1]);
        assert_eq!(cut(&[60, 60, 10, 90, 200, 1], 10_000), [6]);
        assert_eq!(cut(&[10; 11], 100), [6, 5]);
        assert_eq!(cut(&[], 100), [0]);
        assert_eq!(cut(&[0, 0], 100), [2]);
    }

    proptest::proptest! {
        #[test]
        fn every_item_is_in_a_run(sizes in proptest::collection::vec(0u64..1000, 0..80), most in 1u64..2000) {
            let cuts = cut(&sizes, most);
            proptest::prop_assert_eq!(cuts.iter().sum::<usize>(), sizes.len());
            proptest::prop_assert!(sizes.is_empty() || cuts.iter().all(|items| *items > 0));
            let largest = sizes.iter().max().copied().unwrap_or(0);
            let mut rest = &sizes[..];
            for items in cuts {
                let (run, others) = rest.split_at(items);
                proptest::prop_assert!(run.iter().sum::<u64>() <= most + largest);
                rest = others;
            }
        }
    }
}
