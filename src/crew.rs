//! How many workers a step gets, and which GPU each of them: a function of the machine, of what was
//! asked for and of where the step's models compute.

use clap::Args;
use laioncele_core::{CoreError, Manifest, ModelFiles};
use laioncele_face::Device as FaceDevice;
use laioncele_inference::{FaceSection, ImageEncoderSection, SdxlSection};
use laioncele_nn::DeviceChoice;

use crate::machine::Machine;

/// Which workers a run has.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct WorkerArgs {
    /// Worker processes [default: for steps whose models compute on GPUs one per GPU, for
    /// download-images one, for others one per two CPU cores, or as many as the memory holds the
    /// weights for]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// GPUs to use, by CUDA number; workers get one each, in turn
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub gpus: Vec<u16>,
}

/// Where models compute, in the order in which the greatest decides for a step with several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// On the processor.
    Processor,
    /// On the GPU that a worker sees: each worker may see another.
    EachGpu,
    /// On the GPU of one number: a worker must see all of them.
    OneGpu,
}

/// The workers of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crew {
    /// The most workers.
    pub workers: usize,
    /// Threads of each, in steps with at least as many tasks as workers.
    pub threads: usize,
    /// Whether the workers of a step with fewer tasks share all threads: those of one machine can.
    pub shared: bool,
    /// GPUs, given to the workers in turn. Empty: workers are not restricted.
    pub gpus: Vec<String>,
    /// Tasks that a worker runs at once.
    pub at_once: usize,
}

impl Crew {
    /// The workers for models in `place` whose weights take `weights` bytes in each worker.
    pub(crate) fn of(machine: &Machine, args: &WorkerArgs, place: Place, weights: u64) -> Self {
        let gpus: Vec<String> = match (args.gpus.as_slice(), place) {
            ([], Place::EachGpu) => machine.gpus.iter().map(|gpu| gpu.name.clone()).collect(),
            ([], Place::Processor | Place::OneGpu) => Vec::new(),
            (asked, _) => asked.iter().map(ToString::to_string).collect(),
        };
        let usual = match (gpus.len(), place) {
            (0, Place::OneGpu) => 1,
            (0, _) => on_processor(machine, weights),
            (gpus, _) => gpus,
        };
        let workers = args.workers.map_or(usual, usize::from).max(1);
        Self {
            workers,
            threads: machine
                .threads_each
                .unwrap_or(machine.cpus / workers)
                .max(1),
            shared: machine.threads_each.is_none(),
            gpus,
            at_once: 1,
        }
    }

    /// The workers for a step of which each runs `at_once` tasks, because they wait for others most of the time: one
    /// with all threads, unless more are asked for.
    pub(crate) fn of_waiting_tasks(machine: &Machine, args: &WorkerArgs, at_once: usize) -> Self {
        let args = WorkerArgs {
            workers: args.workers.or(Some(1)),
            gpus: Vec::new(),
        };
        Self {
            at_once,
            ..Self::of(machine, &args, Place::Processor, 0)
        }
    }

    /// Workers that share a GPU, at most.
    pub(crate) fn per_gpu(&self) -> usize {
        self.workers.div_ceil(self.gpus.len().max(1))
    }
}

/// One per two cores, of which every one must hold the weights.
fn on_processor(machine: &Machine, weights: u64) -> usize {
    let usual = (machine.cpus / 2).max(1);
    let fitting = machine.free.and_then(|free| free.checked_div(weights));
    let fitting = fitting.map_or(usual, |n| usize::try_from(n).unwrap_or(usual));
    usual.min(fitting.max(1))
}

impl Place {
    /// Where a choice leads on a machine with these GPUs.
    pub(crate) fn of_choice(choice: DeviceChoice, machine: &Machine) -> Self {
        match choice {
            DeviceChoice::Auto if !machine.gpus.is_empty() => Self::EachGpu,
            DeviceChoice::Auto | DeviceChoice::Cpu => Self::Processor,
            DeviceChoice::Cuda(_) => Self::OneGpu,
        }
    }

    /// Where a step with these models computes.
    ///
    /// # Errors
    /// A wrong section of the manifest.
    pub(crate) fn of_models(
        manifest: &Manifest,
        models: &[ModelFiles],
        machine: &Machine,
    ) -> Result<Self, CoreError> {
        let uses = |section: &str| models.iter().any(|m| m.label.starts_with(section));
        let mut place = Self::Processor;
        if uses("models.sdxl.") {
            let device = SdxlSection::from_manifest(manifest)?.files.device;
            place = place.max(Self::of_choice(device, machine));
        }
        if uses("models.image_encoders.") {
            let device = ImageEncoderSection::from_manifest(manifest)?.device;
            place = place.max(Self::of_choice(device, machine));
        }
        if uses("models.face.") {
            let device = match FaceSection::from_manifest(manifest)?.files.device {
                FaceDevice::Cpu => DeviceChoice::Cpu,
                FaceDevice::Auto | FaceDevice::Cuda => DeviceChoice::Auto,
            };
            place = place.max(Self::of_choice(device, machine));
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::VisibleGpu;

    fn machine(cpus: usize, gpus: &[&str], free: Option<u64>) -> Machine {
        let gpu = |name: &&str| VisibleGpu {
            name: (*name).to_owned(),
            memory: 24 << 30,
        };
        Machine {
            cpus,
            gpus: gpus.iter().map(gpu).collect(),
            free,
            threads_each: None,
        }
    }

    fn args(workers: Option<u16>, gpus: &[u16]) -> WorkerArgs {
        WorkerArgs {
            workers,
            gpus: gpus.to_vec(),
        }
    }

    /// Workers, threads of each, GPUs.
    fn shape(crew: &Crew) -> (usize, usize, String) {
        (crew.workers, crew.threads, crew.gpus.join(","))
    }

    #[test]
    fn one_worker_per_gpu_by_default() {
        let two = machine(32, &["0", "1"], None);
        let of = |args: &WorkerArgs, place| shape(&Crew::of(&two, args, place, 7 << 30));
        let none = args(None, &[]);
        let text = |text: &str| text.to_owned();
        assert_eq!(of(&none, Place::EachGpu), (2, 16, text("0,1")));
        // One GPU by its number: no worker may be kept from seeing it, and none shares it.
        assert_eq!(of(&none, Place::OneGpu), (1, 32, text("")));
        assert_eq!(of(&none, Place::Processor), (16, 2, text("")));
        let asked = args(None, &[1]);
        for place in [Place::EachGpu, Place::OneGpu, Place::Processor] {
            assert_eq!(of(&asked, place), (1, 32, text("1")));
        }
        let asked = args(Some(3), &[]);
        assert_eq!(of(&asked, Place::EachGpu), (3, 10, text("0,1")));
        assert_eq!(Crew::of(&two, &asked, Place::EachGpu, 0).per_gpu(), 2);
        assert_eq!(
            of(&args(Some(4), &[0, 3]), Place::EachGpu),
            (4, 8, text("0,3"))
        );
    }

    #[test]
    fn tasks_that_wait_share_one_worker_by_default() {
        let two = machine(16, &["0", "1"], None);
        let of = |asked| Crew::of_waiting_tasks(&two, &args(asked, &[1]), 8);
        assert_eq!(shape(&of(None)), (1, 16, String::new()));
        assert_eq!(shape(&of(Some(4))), (4, 4, String::new()));
        assert_eq!(of(None).at_once, 8);
    }

    #[test]
    fn no_more_workers_than_the_memory_holds_weights_for() {
        let none = args(None, &[]);
        let workers = |free, weights| {
            let machine = machine(16, &[], free);
            Crew::of(&machine, &none, Place::Processor, weights).workers
        };
        assert_eq!(workers(None, 10), 8);
        assert_eq!(workers(Some(35), 10), 3);
        assert_eq!(workers(Some(1000), 10), 8);
        assert_eq!(workers(Some(5), 10), 1);
        assert_eq!(workers(Some(5), 0), 8);
        let one = machine(1, &[], None);
        assert_eq!(
            shape(&Crew::of(&one, &none, Place::Processor, 0)),
            (1, 1, String::new())
        );
    }

    #[test]
    fn auto_is_each_gpu_where_there_are_some() {
        let (none, two) = (machine(4, &[], None), machine(4, &["0", "1"], None));
        let of = |choice| [&none, &two].map(|machine| Place::of_choice(choice, machine));
        assert_eq!(of(DeviceChoice::Auto), [Place::Processor, Place::EachGpu]);
        assert_eq!(of(DeviceChoice::Cpu), [Place::Processor; 2]);
        assert_eq!(of(DeviceChoice::Cuda(1)), [Place::OneGpu; 2]);
        assert_eq!(Place::EachGpu.max(Place::OneGpu), Place::OneGpu);
    }
}
