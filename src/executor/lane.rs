//! What workers are for.

use crate::crew::Crew;

/// What workers are for: each lane has its own, beside those of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Computes on the processor.
    Processor,
    /// Computes on GPUs.
    Gpu,
    /// Waits for the network.
    Network,
}

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::Processor, Self::Gpu, Self::Network];

    /// The lane of a step with this crew.
    pub(super) fn of(crew: &Crew) -> Self {
        match (crew.at_once, crew.gpus.is_empty()) {
            (0 | 1, true) => Self::Processor,
            (0 | 1, false) => Self::Gpu,
            _ => Self::Network,
        }
    }
}
