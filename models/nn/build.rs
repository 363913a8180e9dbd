//! Compiles `kernels/` to PTX for the GPU of this machine, or for `CUDA_COMPUTE_CAP`, as candle's
//! kernels are.

#[cfg(feature = "cuda")]
fn main() -> cudaforge::Result<()> {
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let kernels = cudaforge::KernelBuilder::new()
        .source_files(["kernels/attention.cu"])
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()?;
    kernels.write(format!("{out}/kernels.rs"))
}

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
