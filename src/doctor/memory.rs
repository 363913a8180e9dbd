//! Whether the memory holds the weights of all workers.

use laioncele_core::{Manifest, ModelFiles};
use laioncele_inference::{ImageEncoderSection, SdxlSection};
use laioncele_nn::DeviceChoice;

use super::Check;
use crate::crew::{Crew, Place, WorkerArgs};
use crate::machine::Machine;
use crate::words::{count, size};

/// Bytes of the weights that a worker loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weights {
    /// Of SDXL.
    pub sdxl: u64,
    /// Of the image encoders.
    pub image_encoders: u64,
}

/// What a worker has on the processor and on a GPU.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    processor: u64,
    gpu: u64,
    /// Whether each worker has the GPU that it sees.
    each: bool,
}

impl Weights {
    /// Bytes that a worker of a step with these models loads.
    pub(crate) fn of_models(&self, models: &[ModelFiles]) -> u64 {
        let uses = |section: &str| models.iter().any(|m| m.label.starts_with(section));
        let part = |section: &str, bytes: u64| if uses(section) { bytes } else { 0 };
        part("models.sdxl.", self.sdxl) + part("models.image_encoders.", self.image_encoders)
    }

    /// Where the weights will be, and whether there is room for those of all workers.
    pub(super) fn check(
        &self,
        manifest: &Manifest,
        machine: &Machine,
        workers: &WorkerArgs,
    ) -> Vec<Check> {
        let load = self.load(manifest, machine);
        let mut checks = Vec::new();
        if load.processor > 0 || load.gpu == 0 {
            checks.push(Check::new(
                "memory",
                None,
                on_processor(load, machine, workers),
            ));
        }
        if load.gpu > 0 {
            checks.push(Check::new(
                "memory.gpu",
                None,
                on_gpus(load, machine, workers),
            ));
        }
        checks
    }

    fn load(&self, manifest: &Manifest, machine: &Machine) -> Load {
        let sdxl = SdxlSection::from_manifest(manifest).map(|s| s.files.device);
        let images = ImageEncoderSection::from_manifest(manifest).map(|s| s.device);
        let parts = [(sdxl.ok(), self.sdxl), (images.ok(), self.image_encoders)];
        let mut load = Load {
            each: true,
            ..Load::default()
        };
        for (device, bytes) in parts {
            let device = device.unwrap_or(DeviceChoice::Cpu);
            match Place::of_choice(device, machine) {
                Place::Processor => load.processor += bytes,
                Place::EachGpu => load.gpu += bytes,
                Place::OneGpu => {
                    load.gpu += bytes;
                    load.each = false;
                }
            }
        }
        load
    }
}

fn on_processor(load: Load, machine: &Machine, args: &WorkerArgs) -> Result<String, String> {
    let crew = Crew::of(machine, args, Place::Processor, load.processor);
    let needed = load.processor.saturating_mul(crew.workers as u64);
    let text = match crew.workers {
        1 => format!("a worker's weights take {}", size(needed)),
        workers => format!(
            "the weights of {workers} workers take {} ({} each)",
            size(needed),
            size(load.processor)
        ),
    };
    match machine.free {
        None => Ok(text),
        Some(free) if free < needed => Err(format!(
            "{text}; {} are free: fewer --workers, a 16-bit precision, or a machine with more memory",
            size(free)
        )),
        Some(free) => Ok(format!("{text}; {} are free", size(free))),
    }
}

fn on_gpus(load: Load, machine: &Machine, args: &WorkerArgs) -> Result<String, String> {
    let place = match load.each {
        true => Place::EachGpu,
        false => Place::OneGpu,
    };
    let crew = Crew::of(machine, args, place, load.gpu);
    let needed = load.gpu.saturating_mul(crew.per_gpu() as u64);
    let workers = count(crew.workers, "worker");
    let gpus = count(crew.gpus.len().max(1), "GPU");
    let text = format!(
        "{workers} on {gpus}; the weights on one take {}",
        size(needed)
    );
    let smallest = machine.gpus.iter().map(|gpu| gpu.memory).min();
    match smallest {
        None => Ok(text),
        Some(memory) if memory < needed => Err(format!(
            "{text}, it has {}: fewer --workers, a 16-bit precision, or a GPU with more memory",
            size(memory)
        )),
        Some(memory) => Ok(format!("{text} of its {}", size(memory))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::VisibleGpu;

    const GB: u64 = 1_000_000_000;

    fn machine(gpus: usize, free: Option<u64>) -> Machine {
        let gpu = |number: usize| VisibleGpu {
            name: number.to_string(),
            memory: 24 * GB,
        };
        Machine {
            cpus: 16,
            gpus: (0..gpus).map(gpu).collect(),
            free,
            threads_each: None,
        }
    }

    fn asked(workers: u16) -> WorkerArgs {
        WorkerArgs {
            workers: Some(workers),
            gpus: Vec::new(),
        }
    }

    fn load(processor: u64, gpu: u64, each: bool) -> Load {
        Load {
            processor,
            gpu,
            each,
        }
    }

    #[test]
    fn the_weights_of_all_workers_count() {
        let (load, machine) = (load(10 * GB, 0, true), machine(0, Some(64 * GB)));
        let of = |args: &WorkerArgs| on_processor(load, &machine, args);
        let text = of(&WorkerArgs::default()).expect("six workers");
        assert!(
            text.contains("6 workers take 60.00 GB (10.00 GB each)"),
            "{text}"
        );
        assert!(of(&asked(6)).is_ok());
        let text = of(&asked(7)).expect_err("seven workers");
        assert!(
            text.contains("70.00 GB") && text.contains("fewer --workers"),
            "{text}"
        );
        let one = on_processor(load, &Machine::default(), &asked(1));
        assert_eq!(one.expect("unknown"), "a worker's weights take 10.00 GB");
    }

    #[test]
    fn workers_on_one_gpu_share_its_memory() {
        let of = |gpus, each, args: &WorkerArgs| {
            on_gpus(load(0, 10 * GB, each), &machine(gpus, None), args)
        };
        let text = of(2, true, &WorkerArgs::default()).expect("one each");
        assert_eq!(
            text,
            "2 workers on 2 GPUs; the weights on one take 10.00 GB of its 24.00 GB"
        );
        assert!(of(2, true, &asked(4)).is_ok());
        let text = of(2, true, &asked(6)).expect_err("three on each");
        assert!(text.contains("30.00 GB, it has 24.00 GB"), "{text}");
        assert!(of(2, false, &asked(2)).is_ok());
        assert!(of(2, false, &asked(3)).is_err(), "all on one");
    }
}
