//! Attention on a GPU in 16 bits by a kernel of our own, whose scores stay out of memory
//! (`kernels/attention.cu`).

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
    builder_arg,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// As the kernel has them.
const HEAD: usize = 64;
const QUERIES: usize = 64;
const THREADS: u32 = 128;

/// Sixteen bytes are read at once.
const ALIGNED: usize = 8;

/// q [batch, queries, heads × 64], k and v [batch, keys, heads × 64] → [batch, queries, heads ×
/// 64]; `None` where the kernel is not for such tensors: other types, other widths of a head
/// (SDXL's U-Nets have 64).
pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
) -> Result<Option<Tensor>> {
    let of_16_bits = matches!(q.dtype(), DType::F16 | DType::BF16);
    if !q.device().is_cuda() || !of_16_bits || q.dim(2)? != heads * HEAD || k.dim(1)? == 0 {
        return Ok(None);
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let aligned = |x: &Tensor| x.layout().start_offset().is_multiple_of(ALIGNED);
    if ![&q, &k, &v].into_iter().all(aligned) {
        return Ok(None);
    }
    q.apply_op3_no_bwd(&k, &v, &FusedAttention).map(Some)
}

/// The numbers of a contiguous tensor.
fn part<'a, T>(slice: &'a CudaSlice<T>, layout: &Layout) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((begin, end)) => Ok(slice.slice(begin..end)),
        None => bail!("the kernel needs contiguous tensors"),
    }
}

struct FusedAttention;

impl FusedAttention {
    #[allow(unsafe_code)]
    fn run<T: DeviceRepr>(
        kernel: &str,
        device: &CudaDevice,
        [q, k, v]: [&CudaSlice<T>; 3],
        [ql, kl, vl]: [&Layout; 3],
    ) -> Result<CudaSlice<T>> {
        let (batch, queries, width) = ql.shape().dims3()?;
        let (_, keys, _) = kl.shape().dims3()?;
        if kl.shape() != vl.shape() || kl.shape().dims3()? != (batch, keys, width) {
            bail!("attention over {ql:?}, {kl:?}, {vl:?}");
        }
        let (q, k, v) = (part(q, ql)?, part(k, kl)?, part(v, vl)?);
        // SAFETY: the kernel writes all of it.
        let out = unsafe { device.alloc::<T>(batch * queries * width)? };
        let function = device.get_or_load_custom_func(kernel, "laioncele-attention", ATTENTION)?;
        let grid = [queries.div_ceil(QUERIES), width / HEAD, batch];
        let [blocks, heads, batches] = grid.map(|size| size as u32);
        let mut builder = function.builder();
        builder.arg(&q).arg(&k).arg(&v).arg(&out);
        let scale = 1.0 / (HEAD as f32).sqrt();
        builder_arg!(builder, queries as i32, keys as i32, width as i32, scale);
        let grid = LaunchConfig {
            grid_dim: (blocks, heads, batches),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the kernel's parameters in their order and types; it reads and writes within the
        // three shapes, which are those of the slices, and every piece of sixteen bytes is aligned
        // (`attention`).
        unsafe { builder.launch(grid) }.w()?;
        Ok(out)
    }
}

impl CustomOp3 for FusedAttention {
    fn name(&self) -> &'static str {
        "fused-attention"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this attention is for GPUs")
    }

    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        ql: &Layout,
        k: &CudaStorage,
        kl: &Layout,
        v: &CudaStorage,
        vl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        use CudaStorageSlice::{BF16, F16};
        let (device, layouts) = (q.device().clone(), [ql, kl, vl]);
        let slice = match (&q.slice, &k.slice, &v.slice) {
            (F16(q), F16(k), F16(v)) => {
                F16(Self::run("attention_f16", &device, [q, k, v], layouts)?)
            }
            (BF16(q), BF16(k), BF16(v)) => {
                BF16(Self::run("attention_bf16", &device, [q, k, v], layouts)?)
            }
            _ => bail!(
                "attention over {:?}, {:?}, {:?}",
                q.dtype(),
                k.dtype(),
                v.dtype()
            ),
        };
        Ok((CudaStorage { slice, device }, ql.shape().clone()))
    }
}
