//! What this machine has: cores, GPUs that this program can use, free memory.

use std::fs;

/// What a run may use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// Cores.
    pub cpus: usize,
    /// GPUs that this process sees and this program was built for.
    pub gpus: Vec<VisibleGpu>,
    /// Free memory in bytes, if the system tells.
    pub free: Option<u64>,
    /// Where it stands for several machines: the cores of each worker, which has them to itself.
    pub threads_each: Option<usize>,
}

/// A GPU that this process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VisibleGpu {
    /// As CUDA_VISIBLE_DEVICES names it.
    pub name: String,
    /// Bytes of memory.
    pub memory: u64,
}

impl Machine {
    /// This machine, as it is now.
    pub(crate) fn look() -> Self {
        let found = match cfg!(feature = "cuda") {
            true => laioncele_nn::gpus().unwrap_or_default(),
            // A program that cannot use them does not wake the driver.
            false => &[],
        };
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let names = names(visible.as_deref(), found.len());
        let gpus = names.into_iter().zip(found).map(|(name, gpu)| VisibleGpu {
            name,
            memory: gpu.memory,
        });
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            gpus: gpus.collect(),
            free: free_memory(),
            threads_each: None,
        }
    }
}

/// How CUDA_VISIBLE_DEVICES names each of `count` GPUs, given its value in this process, which may
/// list some of the machine's GPUs, in any order, by number or by id.
fn names(visible: Option<&str>, count: usize) -> Vec<String> {
    let listed = visible.map(|list| list.split(',').map(|name| name.trim().to_owned()));
    match listed {
        Some(listed) => listed.take(count).collect(),
        None => (0..count).map(|number| number.to_string()).collect(),
    }
}

/// Free memory in bytes; `None` if the system does not tell.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_keep_the_names_that_this_process_sees_them_by() {
        assert_eq!(names(None, 2), ["0", "1"]);
        assert_eq!(names(Some("3, 1"), 2), ["3", "1"]);
        assert_eq!(names(Some("GPU-8b1f,7"), 1), ["GPU-8b1f"]);
        assert!(names(None, 0).is_empty());
    }

    #[test]
    fn this_machine_has_a_core_and_memory() {
        let machine = Machine::look();
        assert!(machine.cpus >= 1);
        assert!(machine.free.is_none_or(|free| free > 0));
    }
}
