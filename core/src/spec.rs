//! What a task is made of before it runs, and what it says while it does.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::drops::{DropReason, Unit};
use crate::key::KeyParts;
use crate::names::StageName;
use crate::part::Part;
use crate::part_list::ListRef;
use crate::partition::Partition;

/// The real address of a run's invented hosts. It is in no key: a port changes no id and no digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMap {
    /// Hosts that end in this are mapped (`.example`).
    pub suffix: String,
    /// To this address and port, whatever port the url names.
    pub address: SocketAddr,
}

/// What a task needs to know that its result does not depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuntimeEnvironment {
    /// The embedded world's web, when it is served.
    #[serde(default)]
    pub host_map: Option<HostMap>,
    /// Threads that one worker may use, for all tasks that it runs at once.
    #[serde(default)]
    pub threads: usize,
    /// Workers that run tasks of this step, at most. 0 where there is no run.
    #[serde(default)]
    pub workers: usize,
}

/// How a task treats its rows. In no key: a row that no worker can digest is dropped, with its reason, in one record or
/// another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCare {
    /// Whether rows are looked at one by one, and told of before: two workers have died of the task.
    #[serde(default)]
    pub one_by_one: bool,
    /// Rows that are left out, with how they ended their workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poison: Vec<(u64, String)>,
}

/// A task, written as an object `queue/KEY.json` so that its input list never has to fit in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The stage.
    pub stage: StageName,
    /// The step.
    pub step: String,
    /// The partition.
    pub partition: Partition,
    /// The key of its record.
    pub key: Digest,
    /// What the key was made of.
    pub key_parts: KeyParts,
    /// Parts to read: those of its own partition or group.
    pub inputs: Vec<Part>,
    /// Lists of parts to read, one for each table that it reads whole or a slice of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListRef>,
    /// What is tried again of a result that is there. In no key: the new result takes the place of the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

/// Which dropped rows of a committed task are tried again; none where the whole task is made again, since images were pruned
/// from its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// The attempt whose record the new one replaces.
    pub replaces: String,
    /// Rows dropped for one of these reasons.
    pub reasons: Vec<DropReason>,
    /// Of these hosts only, in lower case; empty: of any.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// That were last tried before this time, in milliseconds since 1970; none: whenever.
    #[serde(default)]
    pub before: Option<u64>,
}

impl Again {
    /// Nothing that was dropped is tried again, but the result of the attempt `replaces` is made whole.
    pub fn whole(replaces: &str) -> Self {
        Self {
            replaces: replaces.to_owned(),
            reasons: Vec::new(),
            hosts: Vec::new(),
            before: None,
        }
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// Of what.
    pub unit: Unit,
    /// What was found in them so far, where that is another unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<(Unit, u64)>,
}
