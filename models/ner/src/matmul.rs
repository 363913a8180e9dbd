//! Matrix products, and the processor's vector instructions for what lies between them.

/// Rows of a matrix that may overlap: row `i` is `data[i * stride..][..width]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
    pub(crate) width: usize,
}

/// `out[i][j] = Σ_k rows[i][k] · matrix[k][j]`: `matrix` holds `rows.width` rows of `columns`, `out` `rows.count` rows of
/// `columns`. On this thread alone; a row's sums do not depend on the other rows' values.
///
/// # Panics
/// If a slice is too short.
#[allow(unsafe_code)]
pub(crate) fn product(rows: Rows, matrix: &[f32], columns: usize, out: &mut [f32]) {
    if rows.count == 0 {
        return;
    }
    assert!((rows.count - 1) * rows.stride + rows.width <= rows.data.len());
    assert!(columns * rows.width <= matrix.len() && rows.count * columns <= out.len());
    // SAFETY: the kernel reads lhs[i * stride + k], rhs[k * columns + j] and writes out[i * columns + j] for i < count,
    // j < columns, k < width, all inside the slices by the assertions; `out` is borrowed mutably, so nothing aliases it.
    unsafe {
        gemm::gemm(
            rows.count,
            columns,
            rows.width,
            out.as_mut_ptr(),
            1,
            columns as isize,
            false,
            rows.data.as_ptr(),
            1,
            rows.stride as isize,
            matrix.as_ptr(),
            1,
            columns as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `matrix` of `columns` columns, the other way round.
pub(crate) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..matrix.len())
        .map(|i| matrix[i % rows * columns + i / rows])
        .collect()
}

/// Work in loops over numbers, to be compiled for the vector instructions of the processor at hand. The implementing
/// `with_simd` and all that it calls must be `#[inline(always)]`.
pub(crate) use pulp::WithSimd as Loops;

/// Does `work` with AVX2 where the processor has it. The results are the same without.
pub(crate) fn vectorized<W: Loops>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(avx2, work);
    }
    pulp::Arch::new().dispatch(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_rows_are_windows() {
        let data: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let matrix: Vec<f32> = (0..18).map(|v| (v % 5) as f32 - 2.0).collect();
        let rows = Rows {
            data: &data,
            count: 4,
            stride: 2,
            width: 6,
        };
        let mut out = vec![f32::NAN; 12];
        product(rows, &transposed(&matrix, 6), 3, &mut out);
        for i in 0..4 {
            for j in 0..3 {
                let expected: f32 = (0..6).map(|k| data[2 * i + k] * matrix[6 * j + k]).sum();
                assert_eq!(out[3 * i + j], expected);
            }
        }
    }
}
