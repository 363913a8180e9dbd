//! Where a [`DeviceChoice`] leads on this machine, and opening it.

use std::fmt;
use std::sync::Once;

use candle_core::Device;

use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, gpus};

/// Where a [`DeviceChoice`] leads on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedDevice {
    /// The processor, and what keeps [`DeviceChoice::Auto`] from a GPU.
    Cpu(Option<String>),
    /// The GPU of this number.
    Gpu(usize, &'static Gpu),
}

impl DeviceChoice {
    /// Where it leads; nothing is opened yet.
    ///
    /// # Errors
    /// [`Error::NoGpu`] of [`DeviceChoice::Cuda`] without that GPU, or in a program that was built
    /// without CUDA.
    pub fn resolve(self) -> Result<ResolvedDevice> {
        let gpu = |number| {
            // A program that cannot use it does not wake the driver.
            if !cfg!(feature = "cuda") {
                return Err(NO_CUDA.to_owned());
            }
            let gpus = gpus()?;
            match gpus.get(number) {
                Some(gpu) => Ok(ResolvedDevice::Gpu(number, gpu)),
                None => Err(format!("the last GPU here is cuda:{}", gpus.len() - 1)),
            }
        };
        match self {
            Self::Cpu => Ok(ResolvedDevice::Cpu(None)),
            Self::Auto => Ok(gpu(0).unwrap_or_else(|reason| ResolvedDevice::Cpu(Some(reason)))),
            Self::Cuda(number) => gpu(number).map_err(|reason| Error::NoGpu {
                device: self,
                reason,
            }),
        }
    }

    /// The device itself. A GPU comes with a stream of its own, so that any thread may use its
    /// tensors, one at a time, and so that what is opened twice can compute at once; tensors of two
    /// openings do not mix.
    ///
    /// # Errors
    /// As [`DeviceChoice::resolve`]; a GPU that refuses to be opened.
    pub fn open(self) -> Result<Device> {
        match self.resolve()? {
            ResolvedDevice::Gpu(number, _) => open_gpu(number).map_err(|error| Error::NoGpu {
                device: Self::Cuda(number),
                // The first line: a backtrace may follow.
                reason: error.to_string().lines().take(1).collect(),
            }),
            ResolvedDevice::Cpu(why) => {
                static SAID: Once = Once::new();
                if let Some(why) = why.filter(|_| cfg!(feature = "cuda")) {
                    SAID.call_once(|| tracing::warn!("computing on the processor: {why}"));
                }
                Ok(Device::Cpu)
            }
        }
    }
}

const NO_CUDA: &str =
    "laioncele was built without CUDA (its README, \"On a GPU\", says how to build it with it)";

#[cfg(not(feature = "cuda"))]
fn open_gpu(_: usize) -> candle_core::Result<Device> {
    candle_core::bail!("{NO_CUDA}")
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
fn open_gpu(number: usize) -> candle_core::Result<Device> {
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    if let Ok(driver) = crate::gpu::driver() {
        crate::driver::bind(driver);
    }
    // candle's plain `new_cuda` has a stream for each thread, without order between them.
    let device = Device::new_cuda_with_stream(number)?;
    // Two events for every tensor and a wait for every use of it would take longer than a small
    // kernel. SAFETY: they order the uses of a tensor on different streams. All tensors of this
    // device are allocated, used and freed on its one stream: candle refuses operations over two
    // devices, and nothing moves a tensor between two of them.
    unsafe { device.as_cuda_device()?.disable_event_tracking() };
    Ok(device)
}

impl fmt::Display for ResolvedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(None) => f.write_str("the processor"),
            Self::Cpu(Some(why)) => write!(f, "the processor: {why}"),
            Self::Gpu(number, gpu) => write!(f, "cuda:{number}, {}", gpu.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_opens_as_the_cpu() {
        assert!(DeviceChoice::Cpu.open().is_ok_and(|device| device.is_cpu()));
    }

    /// On a machine with GPUs and on one without, with CUDA and without it.
    #[test]
    fn auto_always_opens_and_an_absent_gpu_never_does() {
        let device = DeviceChoice::Auto.open().expect("a device");
        assert_eq!(device.is_cuda(), cfg!(feature = "cuda") && gpus().is_ok());
        let error = DeviceChoice::Cuda(4096).open().expect_err("no such GPU");
        let text = error.to_string();
        for words in ["cuda:4096", "device = \"cpu\""] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(text.contains("built without"), !cfg!(feature = "cuda"));
    }
}
