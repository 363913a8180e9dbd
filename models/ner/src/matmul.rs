//! Matrix products against matrices that are packed once, summed in the vector registers of the
//! processor at hand.

use pulp::Simd;

/// Numbers of a line: as many as the widest registers hold.
pub(crate) const LANES: usize = 16;

/// Columns of a matrix that lie side by side.
pub(crate) type Line = [f32; LANES];

/// A matrix of `K` rows, its columns cut into panels of `N` lines. A panel stays in the processor's
/// nearest cache while rows go by.
pub(crate) struct Packed<const K: usize, const N: usize> {
    panels: Vec<[[Line; N]; K]>,
}

impl<const K: usize, const N: usize> Packed<K, N> {
    /// The matrix [K × `columns`] of `value(row, column)`; the last panel's other columns are zero.
    pub(crate) fn new(columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let line = |k: usize, first: usize| {
            std::array::from_fn(|lane| match first + lane {
                column if column < columns => value(k, column),
                _ => 0.0,
            })
        };
        let panel = |panel: usize| {
            std::array::from_fn(|k| std::array::from_fn(|n| line(k, (panel * N + n) * LANES)))
        };
        let panels = columns.div_ceil(N * LANES);
        Self {
            panels: (0..panels).map(panel).collect(),
        }
    }

    /// The panels, in the columns' order.
    #[inline(always)]
    pub(crate) fn panels(&self) -> &[[[Line; N]; K]] {
        &self.panels
    }
}

/// `out[r][n] = Σ_k rows[r][k] · panel[k][n]`. A row's sums are taken in the order of `k`, whatever
/// the other rows and however many, with each product rounded only after it is added where the
/// processor can.
///
/// # Panics
/// If `out` is shorter than `rows`.
#[inline(always)]
pub(crate) fn product<S: Simd, const K: usize, const N: usize>(
    simd: S,
    rows: &[[f32; K]],
    panel: &[[Line; N]; K],
    out: &mut [[Line; N]],
) {
    let out = &mut out[..rows.len()];
    // As many sums at once as there are registers for: 32 with AVX-512 and NEON, 16 with AVX2.
    match S::F32_LANES {
        4 | 16 => blocks::<S, K, N, 8>(simd, rows, panel, out),
        _ => blocks::<S, K, N, 4>(simd, rows, panel, out),
    }
}

/// The product, `M` rows at a time; what is left at the end is done again with the rows before it.
#[inline(always)]
fn blocks<S: Simd, const K: usize, const N: usize, const M: usize>(
    simd: S,
    rows: &[[f32; K]],
    panel: &[[Line; N]; K],
    out: &mut [[Line; N]],
) {
    let (full, rest) = rows.as_chunks::<M>();
    for (rows, out) in full.iter().zip(out.as_chunks_mut::<M>().0) {
        block(simd, rows, panel, out);
    }
    if rest.is_empty() {
        return;
    }
    match (rows.last_chunk::<M>(), out.last_chunk_mut::<M>()) {
        (Some(rows), Some(out)) => block(simd, rows, panel, out),
        _ => {
            for (row, out) in rest.iter().zip(out) {
                block(simd, &[*row], panel, std::array::from_mut(out));
            }
        }
    }
}

#[inline(always)]
fn block<S: Simd, const K: usize, const N: usize, const M: usize>(
    simd: S,
    rows: &[[f32; K]; M],
    panel: &[[Line; N]; K],
    out: &mut [[Line; N]; M],
) {
    for part in 0..LANES / S::F32_LANES {
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for (k, lines) in panel.iter().enumerate() {
            let mut weights = [simd.splat_f32s(0.0); N];
            for n in 0..N {
                weights[n] = S::as_simd_f32s(&lines[n]).0[part];
            }
            for m in 0..M {
                let value = simd.splat_f32s(rows[m][k]);
                for n in 0..N {
                    sums[m][n] = simd.mul_add_e_f32s(value, weights[n], sums[m][n]);
                }
            }
        }
        for m in 0..M {
            for n in 0..N {
                S::as_mut_simd_f32s(&mut out[m][n]).0[part] = sums[m][n];
            }
        }
    }
}

/// Work in loops over numbers, to be compiled for the vector instructions of the processor at hand.
/// The implementing `with_simd` and all that it calls must be `#[inline(always)]`.
pub(crate) use pulp::WithSimd as Loops;

/// Does `work` with the widest vector instructions that the processor has.
pub(crate) fn vectorized<W: Loops>(work: W) -> W::Output {
    #[cfg(test)]
    if let Some(kernel) = tests::CHOSEN.get() {
        return kernel.run(work);
    }
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(avx512) = pulp::x86::V4::try_new() {
            return Simd::vectorize(avx512, work);
        }
        if let Some(avx2) = pulp::x86::V3::try_new() {
            return Simd::vectorize(avx2, work);
        }
    }
    pulp::Arch::new().dispatch(work)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    /// Vector instructions.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) enum Kernel {
        /// The widest of this processor.
        Widest,
        #[cfg(target_arch = "x86_64")]
        Avx2,
        /// None, as on a processor without any of ours.
        Plain,
    }

    thread_local! {
        /// What this thread computes with if it is not the widest.
        pub(super) static CHOSEN: Cell<Option<Kernel>> = const { Cell::new(None) };
    }

    impl Kernel {
        /// Every kernel that this processor can run.
        pub(crate) fn all() -> Vec<Self> {
            let mut all = vec![Self::Widest, Self::Plain];
            #[cfg(target_arch = "x86_64")]
            all.extend(pulp::x86::V3::try_new().map(|_| Self::Avx2));
            all
        }

        /// Does `work`, which may call [`vectorized`] as it likes, with these instructions.
        pub(crate) fn within<T>(self, work: impl FnOnce() -> T) -> T {
            let before = CHOSEN.replace(Some(self).filter(|kernel| *kernel != Self::Widest));
            let done = work();
            CHOSEN.set(before);
            done
        }

        pub(super) fn run<W: Loops>(self, work: W) -> W::Output {
            match self {
                Self::Widest => vectorized(work),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => {
                    let avx2 = pulp::x86::V3::try_new().expect("only where it is listed");
                    Simd::vectorize(avx2, work)
                }
                Self::Plain => Simd::vectorize(pulp::Scalar, work),
            }
        }
    }

    /// Numbers in -1..1.
    pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 8) as f32 / (1 << 23) as f32 - 1.0)
        };
        let mut state = seed;
        (0..count).map_while(|_| next(&mut state)).collect()
    }

    const K: usize = 96;
    const COLUMNS: usize = 37;

    struct Product<'a>(&'a [[f32; K]], &'a Packed<K, 3>);

    impl Loops for Product<'_> {
        type Output = Vec<[Line; 3]>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut out = vec![[[f32::NAN; LANES]; 3]; self.0.len()];
            product(simd, self.0, &self.1.panels()[0], &mut out);
            out
        }
    }

    /// Every kernel that this processor can run against sums in double precision, for every number
    /// of rows.
    #[test]
    fn every_kernel_takes_the_same_sums() {
        let (data, matrix) = (numbers(20 * K, 1), numbers(K * COLUMNS, 2));
        let rows: &[[f32; K]] = data.as_chunks().0;
        let packed = Packed::new(COLUMNS, |k, column| matrix[k * COLUMNS + column]);
        for count in 0..=rows.len() {
            let product =
                |kernel: Kernel| kernel.within(|| vectorized(Product(&rows[..count], &packed)));
            let kernels: Vec<_> = Kernel::all().into_iter().map(product).collect();
            if let Some(avx2) = kernels.get(2) {
                assert_eq!(kernels[0], *avx2, "AVX-512 rounds as AVX2 does");
            }
            for (r, row) in rows[..count].iter().enumerate() {
                for column in 0..3 * LANES {
                    let term =
                        |k: usize| f64::from(row[k]) * f64::from(matrix[k * COLUMNS + column]);
                    let exact: f64 = match column {
                        0..COLUMNS => (0..K).map(term).sum(),
                        _ => 0.0,
                    };
                    for out in &kernels {
                        let found = f64::from(out[r].as_flattened()[column]);
                        assert!(
                            (found - exact).abs() < 1e-5,
                            "{count}, {r}, {column}: {found}, {exact}"
                        );
                    }
                }
            }
        }
    }
}
