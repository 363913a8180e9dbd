//! Gradient checkpointing: a segment of the network keeps only its input, and is computed again on
//! the way back. Costs one more forward pass; saves all activations between segments.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor, Var,
};

/// A segment of the network: two inputs to one output.
pub(super) type Segment = Arc<dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync>;

/// What the segments of one forward pass leave on the way back.
#[derive(Debug, Clone)]
pub(crate) struct Recomputing {
    /// Gradients of each segment's parameters.
    stores: Arc<Mutex<Vec<GradStore>>>,
    /// A variable that every segment depends on: candle asks for no gradient where all arguments
    /// are constants, and so would pass over a segment's own parameters.
    anchor: Var,
}

impl Recomputing {
    /// Of one forward pass on the anchor's device.
    pub(crate) fn new(device: &candle_core::Device) -> Result<Self> {
        Ok(Self {
            stores: Arc::default(),
            anchor: Var::zeros(1, candle_core::DType::F32, device)?,
        })
    }

    /// The gradients that the segments have left, once the pass has gone back.
    pub(crate) fn stores(self) -> Vec<GradStore> {
        std::mem::take(&mut self.stores.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `segment` of x and `other`, forgotten until it is needed again.
    pub(super) fn run(&self, x: &Tensor, other: &Tensor, segment: Segment) -> Result<Tensor> {
        let output = segment(&x.detach(), &other.detach())?
            .detach()
            .contiguous()?;
        let op = RecomputeOp {
            segment,
            output: Mutex::new(Some(output)),
            stores: self.stores.clone(),
        };
        x.apply_op3(other, &self.anchor, op)
    }
}

struct RecomputeOp {
    segment: Segment,
    /// What the segment came to, until the operation has taken it.
    output: Mutex<Option<Tensor>>,
    stores: Arc<Mutex<Vec<GradStore>>>,
}

impl RecomputeOp {
    fn take(&self) -> Result<Tensor> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || candle_core::Error::Msg("a segment was asked for its output twice".into());
        output.take().ok_or_else(gone)
    }
}

impl CustomOp3 for RecomputeOp {
    fn name(&self) -> &'static str {
        "recompute"
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
        let output = self.take()?;
        let (storage, layout) = output.storage_and_layout();
        match storage.try_clone(layout)? {
            Storage::Cpu(storage) => Ok((storage, output.shape().clone())),
            _ => candle_core::bail!("a segment left its device"),
        }
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let output = self.take()?;
        let (storage, layout) = output.storage_and_layout();
        match storage.try_clone(layout)? {
            Storage::Cuda(storage) => Ok((storage, output.shape().clone())),
            _ => candle_core::bail!("a segment left its device"),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        other: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let again = |t: &Tensor| -> Result<Tensor> {
            Ok(match t.track_op() {
                true => Var::from_tensor(&t.detach())?.into_inner(),
                false => t.clone(),
            })
        };
        let (x, other) = (again(x)?, again(other)?);
        let output = (self.segment)(&x, &other)?;
        let mut store = (output * grad)?.sum_all()?.backward()?;
        let by = (store.remove(&x), store.remove(&other));
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.push(store);
        Ok((by.0, by.1, None))
    }
}
