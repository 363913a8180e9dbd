//! Convolutions through cuDNN. candle's own sum float16 numbers in float16, keep tensor cores out of 16 bits and in float32
//! let them round, and choose an algorithm anew for every call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionFwdAlgo_t as Algorithm, cudnnConvolutionMode_t as Mode,
    cudnnMathType_t as MathType, cudnnTensorFormat_t as Format,
};
use candle_core::cuda_backend::cudarc::cudnn::{ConvForward, Cudnn, CudnnDataType};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::cuda_backend::{CudaStorageSlice, DeviceId};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, DType, Layout, Result, Shape, WithDType, bail,
};

/// A convolution without bias: stride and zero padding alike on all sides; x and weight contiguous.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convolution {
    pub stride: usize,
    pub padding: usize,
    /// Whether float32 factors may be rounded to TF32's 11 bits.
    pub tf32: bool,
}

/// What a plan depends on: [batch, in, height, width, out, kernel, stride, padding], type, TF32.
type PlanKey = ([usize; 8], DType, bool);

/// The chosen algorithm and the bytes that it works in.
type Plan = (Algorithm, usize);

/// A device's handle, which knows the device's stream, and what was planned with it.
struct Planner {
    handle: Arc<Cudnn>,
    plans: HashMap<PlanKey, Plan>,
}

thread_local! {
    /// cuDNN allows a handle to one thread at a time.
    static PLANNERS: RefCell<HashMap<DeviceId, Planner>> = RefCell::default();
}

impl Convolution {
    fn run<T>(
        &self,
        (x, xl): (&CudaSlice<T>, &Layout),
        (w, wl): (&CudaSlice<T>, &Layout),
        device: &CudaDevice,
    ) -> Result<(CudaSlice<T>, Shape)>
    where
        T: WithDType + DeviceRepr + CudnnDataType,
    {
        let (batch, channels, height, width) = xl.shape().dims4()?;
        let (out, depth, kernel, other) = wl.shape().dims4()?;
        let extent = |size: usize| (size + 2 * self.padding + self.stride).saturating_sub(kernel);
        let (out_height, out_width) = (extent(height) / self.stride, extent(width) / self.stride);
        let (Some((x_begin, x_end)), Some((w_begin, w_end))) =
            (xl.contiguous_offsets(), wl.contiguous_offsets())
        else {
            bail!("a convolution through cuDNN needs contiguous tensors");
        };
        if depth != channels || other != kernel || batch * out_height * out_width == 0 {
            bail!("a convolution of {:?} with {:?}", xl.shape(), wl.shape());
        }
        let (x, w) = (x.slice(x_begin..x_end), w.slice(w_begin..w_end));
        let shape = (batch, out, out_height, out_width);
        let sizes = [batch, channels, height, width, out, kernel];
        // SAFETY: the convolution below writes every number of it.
        let mut y = unsafe { device.alloc::<T>(batch * out * out_height * out_width)? };
        with_planner(device, |planner| {
            let cudnn = &planner.handle;
            let numbers = |sizes: [usize; 4]| sizes.map(|size| size as i32);
            let format = Format::CUDNN_TENSOR_NCHW;
            let x_facts =
                cudnn.create_4d_tensor::<T>(format, numbers([batch, channels, height, width]))?;
            let w_facts =
                cudnn.create_4d_filter::<T>(format, numbers([out, channels, kernel, kernel]))?;
            let y_facts = cudnn.create_4d_tensor::<T>(format, numbers(shape.into()))?;
            let both = |size: usize| [size as i32; 2];
            // Sums in float32 whatever the type.
            let mut conv = cudnn.create_conv2d::<f32>(
                both(self.padding),
                both(self.stride),
                both(1),
                Mode::CUDNN_CROSS_CORRELATION,
            )?;
            conv.set_math_type(match (T::DTYPE, self.tf32) {
                (DType::F32, false) => MathType::CUDNN_FMA_MATH,
                (DType::F32, true) => MathType::CUDNN_DEFAULT_MATH,
                _ => MathType::CUDNN_TENSOR_OP_MATH,
            })?;
            let forward = ConvForward {
                conv: &conv,
                x: &x_facts,
                w: &w_facts,
                y: &y_facts,
            };
            let [a, b, c, d, e, f] = sizes;
            let key = (
                [a, b, c, d, e, f, self.stride, self.padding],
                T::DTYPE,
                self.tf32,
            );
            let (algorithm, bytes) = match planner.plans.get(&key) {
                Some(plan) => *plan,
                None => {
                    let algorithm = forward.pick_algorithm()?;
                    let plan = (algorithm, forward.get_workspace_size(algorithm)?);
                    planner.plans.insert(key, plan);
                    plan
                }
            };
            // SAFETY: bytes that the algorithm writes before it reads them.
            let mut workspace = unsafe { device.alloc::<u8>(bytes)? };
            let workspace = (bytes > 0).then_some(&mut workspace);
            let scales = (T::from_f64(1.0), T::from_f64(0.0));
            // SAFETY: type, shape and order of each slice are those of its descriptor, from which its length was computed.
            unsafe { forward.launch(algorithm, workspace, scales, &x, &w, &mut y)? };
            Ok(())
        })?;
        Ok((y, shape.into()))
    }
}

fn with_planner<R>(device: &CudaDevice, act: impl FnOnce(&mut Planner) -> Result<R>) -> Result<R> {
    PLANNERS.with_borrow_mut(|planners| {
        if !planners.contains_key(&device.id()) {
            let planner = Planner {
                handle: Cudnn::new(device.cuda_stream())?,
                plans: HashMap::new(),
            };
            planners.insert(device.id(), planner);
        }
        match planners.get_mut(&device.id()) {
            Some(planner) => act(planner),
            None => bail!("no cuDNN handle"),
        }
    })
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "cudnn-conv2d"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("cuDNN computes on GPUs only")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        use CudaStorageSlice::{BF16, F16, F32};
        let device = x.device();
        let (slice, shape) = match (&x.slice, &w.slice) {
            (F32(x), F32(w)) => {
                let (y, shape) = self.run((x, xl), (w, wl), device)?;
                (F32(y), shape)
            }
            (F16(x), F16(w)) => {
                let (y, shape) = self.run((x, xl), (w, wl), device)?;
                (F16(y), shape)
            }
            (BF16(x), BF16(w)) => {
                let (y, shape) = self.run((x, xl), (w, wl), device)?;
                (BF16(y), shape)
            }
            _ => bail!("a convolution of {:?} with {:?}", x.dtype(), w.dtype()),
        };
        let device = device.clone();
        Ok((CudaStorage { slice, device }, shape))
    }
}
