//! One run at a time on a folder: a file lock, which the kernel releases however the run ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use laioncele_core::CoreError;

/// A lock on a run folder, held until it is dropped or the process exits.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the run folder `output`.
    ///
    /// # Errors
    /// [`CoreError::Locked`] with the holder's process id, or [`CoreError::Io`].
    pub(crate) fn take(output: &Path) -> Result<Self, CoreError> {
        let path = output.join("lock");
        let io = |e| CoreError::from_io(&path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .map_err(io)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // For the message only: the holder may not have written its id yet.
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "unknown".to_owned(),
                    id => id.to_owned(),
                };
                Err(CoreError::Locked {
                    path: output.to_owned(),
                    holder,
                })
            }
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_fails_while_another_lock_is_held() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let first = Lock::take(folder.path()).expect("free");
        match Lock::take(folder.path()) {
            Err(CoreError::Locked { holder, .. }) => {
                assert_eq!(holder, std::process::id().to_string());
            }
            other => panic!("locked twice: {:?}", other.err()),
        }
        drop(first);
        assert!(Lock::take(folder.path()).is_ok());
        Ok(())
    }
}
