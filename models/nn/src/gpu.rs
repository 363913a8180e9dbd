//! Which NVIDIA GPUs there are, asked of the driver itself: its library is looked for at run time,
//! whatever this program was built for.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::result::Result;
use std::sync::OnceLock;

use libloading::Library;

/// The driver's library, which comes with the driver.
const LIBRARY: &str = "libcuda.so.1";

/// CUDA_ERROR_NO_DEVICE.
const NO_DEVICE: c_int = 100;

/// A GPU that this process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// What its maker calls it.
    pub name: String,
    /// Bytes of memory.
    pub memory: u64,
}

/// The GPUs that this process sees, in the order of their numbers: at least one.
/// CUDA_VISIBLE_DEVICES hides others.
///
/// # Errors
/// Why there is none, in words.
pub fn gpus() -> Result<&'static [Gpu], &'static str> {
    static FOUND: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(gpus) => Ok(gpus),
        Err(reason) => Err(reason),
    }
}

/// The driver's library, loaded once and for good.
///
/// # Errors
/// What the loader says.
#[allow(unsafe_code)]
pub(crate) fn driver() -> Result<&'static Library, &'static str> {
    static DRIVER: OnceLock<Result<Library, String>> = OnceLock::new();
    let load = || {
        // SAFETY: what runs when it is loaded is the installed driver's own, as in every program
        // that uses CUDA.
        let library = unsafe { Library::new(LIBRARY) };
        library.map_err(|error| {
            // What the loader said is one level below.
            let said = error.source().map(ToString::to_string);
            let said = said.unwrap_or_else(|| error.to_string());
            format!("no NVIDIA driver ({said})")
        })
    };
    match DRIVER.get_or_init(load) {
        Ok(library) => Ok(library),
        Err(reason) => Err(reason),
    }
}

/// The functions that are asked, as cuda.h declares them.
struct Functions {
    init: unsafe extern "C" fn(c_uint) -> c_int,
    count: unsafe extern "C" fn(*mut c_int) -> c_int,
    device: unsafe extern "C" fn(*mut c_int, c_int) -> c_int,
    name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int,
    memory: unsafe extern "C" fn(*mut usize, c_int) -> c_int,
    words: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
}

impl Functions {
    #[allow(unsafe_code)]
    fn of(driver: &'static Library) -> Result<Self, libloading::Error> {
        // SAFETY: each name has the type beside it in cuda.h of every CUDA since 4.0, and the
        // library is never unloaded.
        unsafe {
            Ok(Self {
                init: *driver.get(b"cuInit")?,
                count: *driver.get(b"cuDeviceGetCount")?,
                device: *driver.get(b"cuDeviceGet")?,
                name: *driver.get(b"cuDeviceGetName")?,
                memory: *driver.get(b"cuDeviceTotalMem_v2")?,
                words: *driver.get(b"cuGetErrorString")?,
            })
        }
    }

    #[allow(unsafe_code)]
    fn count(&self) -> Result<c_int, String> {
        let mut count = 0;
        // SAFETY: cuInit may be called at any time and again; `count` outlives the call that writes
        // to it.
        let status = unsafe {
            match (self.init)(0) {
                0 => (self.count)(&raw mut count),
                failed => failed,
            }
        };
        match (status, count) {
            (0, 1..) => Ok(count),
            (0 | NO_DEVICE, _) => Err("the NVIDIA driver sees no GPU".to_owned()),
            (other, _) => Err(format!("the NVIDIA driver says: {}", self.words(other))),
        }
    }

    #[allow(unsafe_code)]
    fn gpu(&self, number: c_int) -> Result<Gpu, String> {
        let (mut device, mut name, mut memory) = (0, [0u8; 256], 0);
        // SAFETY: cuInit was called; every place outlives its call, and the name's length is told.
        let statuses = unsafe {
            let device_status = (self.device)(&raw mut device, number);
            let name_status = (self.name)(name.as_mut_ptr().cast(), name.len() as c_int, device);
            let memory_status = (self.memory)(&raw mut memory, device);
            [device_status, name_status, memory_status]
        };
        if let Some(failed) = statuses.into_iter().find(|status| *status != 0) {
            return Err(format!(
                "of GPU {number} the NVIDIA driver says: {}",
                self.words(failed)
            ));
        }
        let name = CStr::from_bytes_until_nul(&name).map(CStr::to_string_lossy);
        Ok(Gpu {
            name: name.unwrap_or_default().into_owned(),
            memory: memory as u64,
        })
    }

    /// `initialization error (error 3)`
    #[allow(unsafe_code)]
    fn words(&self, status: c_int) -> String {
        let mut text = std::ptr::null();
        // SAFETY: the driver points `text` to a string of its own that it never frees, or leaves it
        // null.
        let words = unsafe {
            (self.words)(status, &raw mut text);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy())
        };
        format!("{} (error {status})", words.unwrap_or("unknown".into()))
    }
}

fn find() -> Result<Vec<Gpu>, String> {
    let functions = Functions::of(driver()?);
    let functions = functions.map_err(|error| format!("not an NVIDIA driver ({error})"))?;
    let count = functions.count()?;
    (0..count).map(|number| functions.gpu(number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_have_names_and_memory_or_a_reason_is_given() {
        match gpus() {
            Ok(gpus) => {
                assert!(!gpus.is_empty());
                for gpu in gpus {
                    assert!(gpu.memory > 0 && !gpu.name.is_empty(), "{gpu:?}");
                }
            }
            Err(reason) => assert!(reason.contains("NVIDIA driver"), "{reason}"),
        }
    }
}
