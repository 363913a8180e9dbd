//! The worker protocol's codec over messages of every kind, and over lines that are none.

use std::io::{BufReader, Read};
use std::net::{IpAddr, SocketAddr};

use laioncele_core::protocol::{
    FailureKind, FromWorker, LineError, MAX_LINE, NodeCache, ToWorker, lines,
};
use laioncele_core::spec::{HostMap, Progress, RowCare, RuntimeEnvironment};
use laioncele_core::{Digest, Unit};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn environment() -> impl Strategy<Value = RuntimeEnvironment> {
    let address = (any::<IpAddr>(), any::<u16>());
    let host_map = (".*", address).prop_map(|(suffix, (ip, port))| HostMap {
        suffix,
        address: SocketAddr::new(ip, port),
    });
    let host_map = proptest::option::of(host_map);
    (host_map, any::<usize>(), any::<usize>()).prop_map(|(host_map, threads, workers)| {
        RuntimeEnvironment {
            host_map,
            threads,
            workers,
        }
    })
}

fn care() -> impl Strategy<Value = RowCare> {
    let poison = proptest::collection::vec((any::<u64>(), ".*"), 0..4);
    (any::<bool>(), poison).prop_map(|(one_by_one, poison)| RowCare { one_by_one, poison })
}

fn to_worker() -> impl Strategy<Value = ToWorker> {
    let cache = (".*", ".*").prop_map(|(folder, models)| NodeCache {
        folder: folder.into(),
        models,
    });
    let cache = proptest::option::of(cache);
    let texts = (".*", ".*", ".*", ".*");
    let task = (any::<u64>(), texts, environment(), care(), cache);
    let task = task.prop_map(|(id, texts, runtime_environment, rows, node_cache)| {
        let (spec, attempt, manifest, output) = texts;
        ToWorker::Task {
            id,
            spec,
            attempt,
            manifest,
            output: output.into(),
            runtime_environment,
            rows,
            node_cache,
        }
    });
    prop_oneof![
        task,
        any::<u64>().prop_map(|id| ToWorker::Cancel { id }),
        any::<u64>().prop_map(|n| ToWorker::Ping { n }),
    ]
}

fn kind() -> impl Strategy<Value = FailureKind> {
    use FailureKind::{Cancelled, Data, Environment, Internal, Memory, Panic};
    proptest::sample::select(vec![Data, Environment, Memory, Cancelled, Panic, Internal])
}

fn unit() -> impl Strategy<Value = Unit> {
    proptest::sample::select(vec![Unit::Caption, Unit::Mention, Unit::Name, Unit::Image])
}

fn progress() -> impl Strategy<Value = Progress> {
    let found = proptest::option::of((unit(), any::<u64>()));
    (any::<u64>(), any::<u64>(), unit(), found).prop_map(|(done, total, unit, found)| Progress {
        done,
        total,
        unit,
        found,
    })
}

fn from_worker() -> impl Strategy<Value = FromWorker> {
    let program = proptest::option::of("[0-9a-f]{64}");
    let hello = (
        any::<u32>(),
        ".*",
        ".*",
        any::<u32>(),
        any::<usize>(),
        program,
    );
    let hello = hello.prop_map(
        |(protocol, build, host, pid, cpus, program)| FromWorker::Hello {
            protocol,
            build,
            host,
            pid,
            cpus,
            program,
        },
    );
    let id = any::<u64>;
    prop_oneof![
        hello,
        (id(), progress()).prop_map(|(id, progress)| FromWorker::Progress { id, progress }),
        (id(), proptest::option::of(id())).prop_map(|(id, row)| FromWorker::AtRow { id, row }),
        (id(), proptest::option::of(id()), id()).prop_map(|(id, row, limit)| FromWorker::Overdue {
            id,
            row,
            limit
        }),
        (proptest::option::of(id()), ".*", ".*").prop_map(|(id, level, text)| FromWorker::Log {
            id,
            level,
            text
        }),
        (id(), any::<[u8; 32]>(), any::<bool>()).prop_map(|(id, key, won)| FromWorker::Done {
            id,
            key: Digest(key),
            won,
        }),
        (id(), kind(), ".*").prop_map(|(id, kind, text)| FromWorker::Failed { id, kind, text }),
        id().prop_map(|n| FromWorker::Pong { n }),
    ]
}

/// Gives few bytes at a time, as a pipe does.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

fn read_all<T: DeserializeOwned>(bytes: &[u8], at_once: usize) -> Result<Vec<T>, LineError> {
    let mut reader = BufReader::with_capacity(64, Trickle(bytes, at_once.max(1)));
    std::iter::from_fn(|| lines::read(&mut reader).transpose()).collect()
}

fn written<T: Serialize>(messages: &[T]) -> Vec<u8> {
    let mut pipe = Vec::new();
    for message in messages {
        lines::write(&mut pipe, message).expect("short enough");
    }
    pipe
}

/// `bytes`, a message, with a field that nobody knows.
fn with_more(bytes: &[u8], name: &str, value: &Value) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(bytes).expect("JSON");
    let fields = message.as_object_mut().expect("an object");
    fields.insert(name.to_owned(), value.clone());
    let mut line = serde_json::to_vec(&message).expect("JSON");
    line.push(b'\n');
    line
}

proptest! {
    #[test]
    fn every_message_to_a_worker_comes_back(
        messages in proptest::collection::vec(to_worker(), 0..8),
        at_once in 1usize..100,
    ) {
        let pipe = written(&messages);
        prop_assert_eq!(pipe.split(|b| *b == b'\n').count() - 1, messages.len(), "a line each");
        prop_assert_eq!(read_all::<ToWorker>(&pipe, at_once).expect("messages"), messages);
    }

    #[test]
    fn every_message_from_a_worker_comes_back(
        messages in proptest::collection::vec(from_worker(), 0..8),
        at_once in 1usize..100,
    ) {
        let pipe = written(&messages);
        prop_assert_eq!(pipe.split(|b| *b == b'\n').count() - 1, messages.len(), "a line each");
        prop_assert_eq!(read_all::<FromWorker>(&pipe, at_once).expect("messages"), messages);
    }

    #[test]
    fn unknown_fields_are_ignored(to in to_worker(), from in from_worker(), number in any::<i64>()) {
        for value in [Value::from(number), Value::Null, serde_json::json!({"deep": [1, {"x": 2}]})] {
            let line = with_more(&written(&[&to]), "of_a_later_version", &value);
            prop_assert_eq!(read_all::<ToWorker>(&line, 7).expect("a message"), vec![to.clone()]);
            let line = with_more(&written(&[&from]), "of_a_later_version", &value);
            prop_assert_eq!(read_all::<FromWorker>(&line, 7).expect("a message"), vec![from.clone()]);
        }
    }

    #[test]
    fn whatever_is_no_message_is_an_error_and_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        at_once in 1usize..100,
    ) {
        // Messages are objects with a type: nothing else is taken for one.
        for message in read_all::<ToWorker>(&bytes, at_once).into_iter().flatten() {
            prop_assert!(bytes.windows(6).any(|w| w == b"\"type\"") || bytes.contains(&b'\\'), "{message:?}");
        }
        for message in read_all::<FromWorker>(&bytes, at_once).into_iter().flatten() {
            prop_assert!(bytes.windows(6).any(|w| w == b"\"type\"") || bytes.contains(&b'\\'), "{message:?}");
        }
    }

    #[test]
    fn a_message_that_was_cut_off_or_damaged_is_the_end_or_an_error_and_those_before_it_are_read(
        first in from_worker(),
        second in from_worker(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let (one, two) = (written(&[&first]), written(&[&second]));
        // Cut off before its end, which is the line's.
        let cut = at.index(two.len());
        let mut pipe = [&one[..], &two[..cut]].concat();
        let read = read_all::<FromWorker>(&pipe, 50).expect("an end");
        let whole = usize::from(cut == two.len() - 1);
        prop_assert_eq!(read.len(), 1 + whole);
        prop_assert_eq!(&read[0], &first);
        // A byte is another.
        pipe = [&one[..], &two[..]].concat();
        pipe[one.len() + cut] = with;
        let mut reader = pipe.as_slice();
        let whole: Option<FromWorker> = lines::read(&mut reader).expect("whole");
        prop_assert_eq!(whole.as_ref(), Some(&first));
        for _ in 0..3 {
            if lines::read::<FromWorker>(&mut reader).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_line_is_read_up_to_the_limit_and_no_further() {
    for extra in [0, 1, 5000] {
        let text = "y".repeat(MAX_LINE + extra);
        let line = format!("{{\"type\":\"log\",\"level\":\"info\",\"text\":\"{text}\"}}\n");
        let mut reader = line.as_bytes();
        let read = lines::read::<FromWorker>(&mut reader);
        assert!(matches!(read, Err(LineError::TooLong)), "{read:?}");
        assert_eq!(line.len() - reader.len(), MAX_LINE + 1);
    }
}

#[test]
fn nesting_without_end_is_an_error() {
    let line = format!("{{\"type\":\"ping\",\"n\":{}\n", "[".repeat(500_000));
    let read = lines::read::<ToWorker>(&mut line.as_bytes());
    assert!(matches!(read, Err(LineError::NoMessage(_))), "{read:?}");
}
