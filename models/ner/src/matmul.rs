//! Matrix products: the one place where this crate hands pointers to a kernel.

/// Rows of a matrix that may overlap: row `i` is `data[i * stride..][..width]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
    pub(crate) width: usize,
}

/// `out[i][j] = Σ_k rows[i][k] · matrix[j][k]`: `matrix` holds `columns` rows of `rows.width`, `out` `rows.count` rows
/// of `columns`. On this thread alone; the sum's order does not depend on the number of rows' neighbours' values.
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
    // SAFETY: the kernel reads lhs[i * stride + k], rhs[k + j * width] and writes out[i * columns + j] for i < count,
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
            rows.width as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
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
        product(rows, &matrix, 3, &mut out);
        for i in 0..4 {
            for j in 0..3 {
                let expected: f32 = (0..6).map(|k| data[2 * i + k] * matrix[6 * j + k]).sum();
                assert_eq!(out[3 * i + j], expected);
            }
        }
    }
}
