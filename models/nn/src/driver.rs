//! The CUDA driver's functions as candle's CUDA backend calls them. candle links the driver's
//! library, so that a program would not even start without a driver; what it calls is therefore
//! defined here, each function a jump into the library as [`bind`] found it. The binary has no
//! load-time dependency on libcuda.
//!
//! This file goes once candle can load CUDA's libraries at run time, as cudarc already does under
//! its feature `dynamic-loading`: <https://github.com/huggingface/candle/issues/3208>, proposed in
//! <https://github.com/huggingface/candle/pull/3916>.

use std::arch::naked_asm;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::Library;

/// Stands for every function while there is no driver. In this calling convention callers clean the
/// stack, so that it may take any arguments.
extern "C" fn absent() -> c_int {
    // CUDA_ERROR_NO_DEVICE
    100
}

macro_rules! forward {
    ($($name:ident)*) => {
        /// The address of each function.
        #[allow(non_upper_case_globals)]
        mod slots {
            use super::{AtomicPtr, absent, c_void};

            $(pub(super) static $name: AtomicPtr<c_void> =
                AtomicPtr::new(absent as extern "C" fn() -> _ as *mut c_void);)*
        }

        /// Takes the functions that the driver has. Before that, and where the driver lacks one,
        /// each returns `CUDA_ERROR_NO_DEVICE`.
        #[allow(unsafe_code)]
        pub(crate) fn bind(driver: &'static Library) {
            $(
                // SAFETY: a function's address alone is taken; its callers know its type.
                let found = unsafe { driver.get::<unsafe extern "C" fn()>(stringify!($name).as_bytes()) };
                if let Ok(found) = found {
                    slots::$name.store(*found as *mut c_void, Ordering::Release);
                }
            )*
        }

        $(
            // SAFETY: the name is the driver's, which nothing else in the program defines; hidden,
            // it stays within the program. The body jumps to `absent` or to the driver's function
            // of that name, with the caller's registers and stack as they are.
            #[allow(non_snake_case, unsafe_code)]
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                naked_asm!(
                    concat!(".hidden ", stringify!($name)),
                    "jmp qword ptr [rip + {slot}]",
                    slot = sym slots::$name
                );
                #[cfg(target_arch = "aarch64")]
                naked_asm!(
                    concat!(".hidden ", stringify!($name)),
                    "adrp x16, {slot}",
                    "ldr x16, [x16, :lo12:{slot}]",
                    "br x16",
                    slot = sym slots::$name
                );
            }
        )*
    };
}

// All that cudarc's driver module calls. One that is missing here would be linked to the library
// again, which a test of the program's start notices.
forward! {
    cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetCacheConfig cuCtxGetCurrent cuCtxGetLimit
    cuCtxGetStreamPriorityRange cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetFlags cuCtxSetLimit
    cuCtxSynchronize cuDestroyExternalMemory cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount
    cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceGetName cuDeviceGetUuid cuDeviceGetUuid_v2
    cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain cuDeviceSetMemPool cuDeviceTotalMem_v2
    cuEventCreate cuEventDestroy_v2 cuEventElapsedTime cuEventElapsedTime_v2 cuEventQuery
    cuEventRecord cuEventSynchronize cuExternalMemoryGetMappedBuffer cuFuncGetAttribute
    cuFuncSetAttribute cuFuncSetCacheConfig cuGetErrorName cuGetErrorString cuGraphClone
    cuGraphDestroy cuGraphExecDestroy cuGraphInstantiate cuGraphInstantiateWithFlags cuGraphLaunch
    cuGraphUpload cuImportExternalMemory cuInit cuLaunchCooperativeKernel cuLaunchHostFunc
    cuLaunchKernel cuMemAdvise_v2 cuMemAllocAsync cuMemAllocFromPoolAsync cuMemAllocManaged
    cuMemAlloc_v2 cuMemFreeAsync cuMemFreeHost cuMemFree_v2 cuMemGetInfo_v2 cuMemHostAlloc
    cuMemPoolCreate cuMemPoolDestroy cuMemPoolGetAttribute cuMemPoolSetAttribute cuMemPoolTrimTo
    cuMemPrefetchAsync_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoH_v2
    cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2 cuMemcpyPeerAsync cuMemsetD8Async cuMemsetD8_v2
    cuModuleGetFunction cuModuleGetGlobal_v2 cuModuleLoad cuModuleLoadData cuModuleUnload
    cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyMaxActiveClusters
    cuOccupancyMaxPotentialBlockSize cuOccupancyMaxPotentialBlockSizeWithFlags
    cuOccupancyMaxPotentialClusterSize cuProfilerStart cuProfilerStop cuStreamAttachMemAsync
    cuStreamBeginCapture_v2 cuStreamCreate cuStreamCreateWithPriority cuStreamDestroy_v2
    cuStreamEndCapture cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent
}
