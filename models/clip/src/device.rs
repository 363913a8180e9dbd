//! In which type and where to compute, as settings name them.

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A floating-point type, as settings name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, eight of them the exponent.
    Bf16,
    /// 16 bits, five of them the exponent.
    F16,
}

/// Where to compute, as settings name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first GPU if this program was built for one and there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The first GPU that this process sees.
    Cuda,
}

impl Precision {
    /// The type itself.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

impl DeviceChoice {
    /// The device itself.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] without a GPU.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(Device::cuda_if_available(0)?),
            Self::Cuda => Device::new_cuda(0).map_err(Error::from),
        }
    }
}
