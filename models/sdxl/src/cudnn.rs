//! Convolutions through cuDNN. candle's own sum float16 numbers in float16, keep tensor cores out
//! of 16 bits and in float32 let them round, and choose an algorithm anew for every call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionFwdAlgo_t as Algorithm, cudnnConvolutionMode_t as Mode,
    cudnnMathType_t as MathType, cudnnTensorFormat_t as Format,
};
use candle_core::cuda_backend::cudarc::cudnn::{ConvForward, Cudnn, CudnnDataType};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
use candle_core::cuda_backend::{CudaStorageSlice, DeviceId};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, DType, Layout, Result, Shape, WithDType, bail,
};

/// A convolution without bias: stride and zero padding alike on all sides; x and weight contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Convolution {
    pub stride: usize,
    pub padding: usize,
    /// Whether float32 factors may be rounded to TF32's 11 bits.
    pub tf32: bool,
}

/// A convolution of tensors of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SizedConvolution {
    how: Convolution,
    /// [batch, in, height, width]
    x: [usize; 4],
    /// [out, in, kernel, kernel]
    w: [usize; 4],
}

/// The chosen algorithm and the bytes that it works in.
type Plan = (Algorithm, usize);

/// A device's handle, which knows the device's stream, and what was planned with it.
struct Planner {
    handle: Arc<Cudnn>,
    plans: HashMap<(SizedConvolution, DType), Plan>,
}

// SAFETY: its mutex gives the handle to one thread at a time, which is what cuDNN asks for.
#[allow(unsafe_code)]
unsafe impl Send for Planner {}

/// Of each opened device. They stay until the program ends: cudarc panics where a handle cannot be
/// closed, as after an error of the device, which is to be reported instead.
static PLANNERS: LazyLock<Mutex<HashMap<DeviceId, Arc<Mutex<Planner>>>>> =
    LazyLock::new(Mutex::default);

impl SizedConvolution {
    fn new(how: Convolution, xl: &Layout, wl: &Layout) -> Result<Self> {
        let (x, w) = (xl.shape().dims4()?.into(), wl.shape().dims4()?.into());
        let sized = Self { how, x, w };
        let [_, depth, kernel, other] = w;
        if x[1] != depth || kernel != other || sized.output().contains(&0) {
            bail!("a convolution of {:?} with {:?}", xl.shape(), wl.shape());
        }
        Ok(sized)
    }

    /// [batch, out, height', width']
    fn output(&self) -> [usize; 4] {
        let Convolution {
            stride, padding, ..
        } = self.how;
        let ([batch, _, height, width], [out, _, kernel, _]) = (self.x, self.w);
        let edge = |size: usize| (size + 2 * padding + stride).saturating_sub(kernel) / stride;
        [batch, out, edge(height), edge(width)]
    }

    fn math(&self, dtype: DType) -> MathType {
        match (dtype, self.how.tf32) {
            (DType::F32, false) => MathType::CUDNN_FMA_MATH,
            (DType::F32, true) => MathType::CUDNN_DEFAULT_MATH,
            _ => MathType::CUDNN_TENSOR_OP_MATH,
        }
    }
}

impl Planner {
    /// The device's.
    fn of(device: &CudaDevice) -> Result<Arc<Mutex<Self>>> {
        let mut planners = PLANNERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(planner) = planners.get(&device.id()) {
            return Ok(planner.clone());
        }
        let planner = Arc::new(Mutex::new(Self {
            handle: Cudnn::new(device.cuda_stream())?,
            plans: HashMap::new(),
        }));
        planners.insert(device.id(), planner.clone());
        Ok(planner)
    }

    /// # Safety
    /// The slices have the lengths that `sized` says.
    unsafe fn convolve<T>(
        &mut self,
        sized: SizedConvolution,
        (x, w): (CudaView<'_, T>, CudaView<'_, T>),
        y: &mut CudaSlice<T>,
        device: &CudaDevice,
    ) -> Result<()>
    where
        T: WithDType + DeviceRepr + CudnnDataType,
    {
        let (cudnn, format) = (&self.handle, Format::CUDNN_TENSOR_NCHW);
        let numbers = |sizes: [usize; 4]| sizes.map(|size| size as i32);
        let (stride, padding) = (sized.how.stride as i32, sized.how.padding as i32);
        let mode = Mode::CUDNN_CROSS_CORRELATION;
        // Sums in float32 whatever the type.
        let mut conv = cudnn.create_conv2d::<f32>([padding; 2], [stride; 2], [1; 2], mode)?;
        conv.set_math_type(sized.math(T::DTYPE))?;
        let forward = ConvForward {
            conv: &conv,
            x: &cudnn.create_4d_tensor::<T>(format, numbers(sized.x))?,
            w: &cudnn.create_4d_filter::<T>(format, numbers(sized.w))?,
            y: &cudnn.create_4d_tensor::<T>(format, numbers(sized.output()))?,
        };
        let (algorithm, bytes) = match self.plans.entry((sized, T::DTYPE)) {
            Entry::Occupied(plan) => *plan.get(),
            Entry::Vacant(place) => {
                let algorithm = forward.pick_algorithm()?;
                *place.insert((algorithm, forward.get_workspace_size(algorithm)?))
            }
        };
        let mut workspace = match bytes {
            0 => None,
            // SAFETY: the algorithm writes what it reads of it.
            some => Some(unsafe { device.alloc::<u8>(some)? }),
        };
        let scales = (T::from_f64(1.0), T::from_f64(0.0));
        // SAFETY: type and order of each slice are those of its descriptor, and so is its length.
        unsafe { forward.launch(algorithm, workspace.as_mut(), scales, &x, &w, y)? };
        Ok(())
    }
}

impl Convolution {
    fn run<T>(
        self,
        (x, xl): (&CudaSlice<T>, &Layout),
        (w, wl): (&CudaSlice<T>, &Layout),
        device: &CudaDevice,
    ) -> Result<(CudaSlice<T>, Shape)>
    where
        T: WithDType + DeviceRepr + CudnnDataType,
    {
        let sized = SizedConvolution::new(self, xl, wl)?;
        let (Some((x_begin, x_end)), Some((w_begin, w_end))) =
            (xl.contiguous_offsets(), wl.contiguous_offsets())
        else {
            bail!("a convolution through cuDNN needs contiguous tensors");
        };
        let inputs = (x.slice(x_begin..x_end), w.slice(w_begin..w_end));
        let shape = Shape::from(&sized.output());
        // SAFETY: the convolution below writes every number of it.
        let mut y = unsafe { device.alloc::<T>(shape.elem_count())? };
        let planner = Planner::of(device)?;
        let mut planner = planner.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a contiguous layout's range has as many numbers as its shape, and so has `y`.
        unsafe { planner.convolve(sized, inputs, &mut y, device)? };
        Ok((y, shape))
    }
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
