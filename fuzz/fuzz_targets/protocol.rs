#![no_main]

use std::fmt::Debug;

use laioncele_core::protocol::{FromWorker, LineError, MAX_LINE, ToWorker, lines};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads messages until the end or an error; each comes back from the line that is written of it.
fn read_all<T: DeserializeOwned + Serialize + Debug + PartialEq>(mut bytes: &[u8]) {
    loop {
        let before = bytes.len();
        let Ok(Some(message)) = lines::read::<T>(&mut bytes) else {
            return;
        };
        assert!(before - bytes.len() <= MAX_LINE);
        let mut line = Vec::new();
        match lines::write(&mut line, &message) {
            Ok(()) => {}
            // Fields that were left out are written: the longest of lines has no room for them.
            Err(LineError::TooLong) if before - bytes.len() > MAX_LINE / 2 => continue,
            Err(error) => panic!("{message:?}: {error}"),
        }
        assert!(line.len() <= MAX_LINE && line.iter().filter(|b| **b == b'\n').count() == 1);
        let again = lines::read::<T>(&mut line.as_slice());
        assert_eq!(again.expect("a message"), Some(message));
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read_all::<ToWorker>(bytes);
    read_all::<FromWorker>(bytes);
});
