//! The figures that the paper prints (Tables 1 and 2), for comparison: other references, other seeds.

/// A row of Table 1: name; CLIP-TI of style, scene, emotion, action and their mean; FID of the same; ID consistency.
pub(crate) type Row = (&'static str, [Option<f64>; 5], [Option<f64>; 5], f64);

const fn some(values: [f64; 5]) -> [Option<f64>; 5] {
    let [a, b, c, d, e] = values;
    [Some(a), Some(b), Some(c), Some(d), Some(e)]
}

/// Table 1.
pub(crate) const TABLE_1: [Row; 4] = [
    (
        "SDXL",
        some([40.28, 40.48, 27.40, 37.01, 36.29]),
        [None; 5],
        0.3365,
    ),
    (
        "IP-Adapter",
        some([29.73, 33.91, 24.86, 32.93, 30.36]),
        some([111.72, 127.55, 108.40, 95.28, 110.73]),
        0.5345,
    ),
    (
        "PhotoMaker",
        some([40.37, 40.72, 29.11, 36.93, 36.78]),
        some([76.11, 106.68, 109.58, 88.27, 95.16]),
        0.5466,
    ),
    (
        "Ours",
        some([40.57, 43.45, 29.31, 39.63, 38.24]),
        some([49.52, 57.98, 73.25, 46.25, 56.75]),
        0.5624,
    ),
];

/// The groups in the order of Table 1.
pub(crate) const GROUPS: [&str; 4] = ["style", "scene", "emotion", "action"];

/// Table 2, of the scenes: name, CLIP-TI, reference similarity, ID consistency.
pub(crate) const TABLE_2: [(&str, [f64; 3]); 5] = [
    ("Ours (w/o fine-tune)", [43.45, 0.4008, 0.4407]),
    ("LaionCele, LoRA", [37.54, 0.5004, 0.6236]),
    ("LaionCele, U-Net", [32.55, 0.4475, 0.6631]),
    ("Ins700, LoRA", [40.66, 0.4816, 0.5742]),
    ("Ins700, U-Net", [36.51, 0.4502, 0.6356]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What the paper calls "All" is the mean of the four groups, of FID too.
    #[test]
    fn all_is_the_mean_of_the_groups() {
        for (name, clip, fid, _) in TABLE_1 {
            for values in [clip, fid] {
                let Some(values) = values.into_iter().collect::<Option<Vec<f64>>>() else {
                    continue;
                };
                let mean = values[..4].iter().sum::<f64>() / 4.0;
                assert!((mean - values[4]).abs() < 0.011, "{name}: {mean}");
            }
        }
    }
}
