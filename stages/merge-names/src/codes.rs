//! What became of each row of each shard's spellings, four bytes each, in scratch files: so that the
//! verdicts can be written shard by shard once all names are known, without joining spellings again.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use laioncele_core::scratch::ScratchFile;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, DropReason, StageError};

use crate::interner::MOST_TEXTS;

/// Codes of all shards together that wait in memory.
const WAITING: usize = 1 << 22;
/// The fewest that a shard keeps waiting.
const LEAST_WAITING: usize = 1 << 10;
/// Codes from here on are rejections: the reason's number is added. Below are texts' numbers.
const REJECTED: u32 = MOST_TEXTS;
/// Codes from here on are several names: the number of the list is added.
const SEVERAL: u32 = 1 << 31;

/// What became of a spelling before names are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// One normalized spelling, by number.
    One(u32),
    /// Several, by the number of their list.
    Several(u32),
    /// It is no name.
    Rejected(DropReason),
}

impl Code {
    fn to_u32(self) -> u32 {
        match self {
            Self::One(number) => number,
            Self::Rejected(reason) => REJECTED + reason as u32,
            Self::Several(list) => SEVERAL | list,
        }
    }

    fn of_u32(code: u32) -> Option<Self> {
        match code {
            code if code >= SEVERAL => Some(Self::Several(code - SEVERAL)),
            code if code >= REJECTED => {
                let reason = DropReason::ALL.get((code - REJECTED) as usize)?;
                Some(Self::Rejected(*reason))
            }
            code => Some(Self::One(code)),
        }
    }
}

/// The codes of all shards, each shard's in the order of its spellings.
pub(crate) struct Codes {
    store: Store,
    shards: Vec<ShardCodes>,
    /// Codes of a shard that wait for its file.
    waiting: usize,
}

#[derive(Default)]
struct ShardCodes {
    waiting: Vec<u32>,
    file: Option<ScratchFile>,
}

impl Codes {
    /// No codes yet, of `shards` shards.
    pub(crate) fn new(store: &Store, shards: usize) -> Self {
        Self {
            store: store.clone(),
            shards: (0..shards).map(|_| ShardCodes::default()).collect(),
            waiting: (WAITING / shards.max(1)).max(LEAST_WAITING),
        }
    }

    /// Adds the code of a shard's next spelling.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn push(&mut self, shard: u32, code: Code) -> Result<(), StageError> {
        let shard = &mut self.shards[shard as usize];
        shard.waiting.push(code.to_u32());
        if shard.waiting.len() < self.waiting {
            return Ok(());
        }
        Ok(shard.write(&self.store)?)
    }

    /// The codes of a shard, in order; then they are gone.
    ///
    /// # Errors
    /// A full or broken disk.
    pub(crate) fn take(&mut self, shard: usize) -> Result<ShardReader, StageError> {
        let mut codes = std::mem::take(&mut self.shards[shard]);
        codes.write(&self.store)?;
        let open = |file: ScratchFile| {
            let opened = File::open(file.path());
            let opened = opened.map_err(|e| CoreError::from_io(file.path(), e))?;
            Ok::<_, CoreError>((BufReader::with_capacity(1 << 16, opened), file))
        };
        Ok(ShardReader {
            file: codes.file.map(open).transpose()?,
        })
    }
}

impl ShardCodes {
    fn write(&mut self, store: &Store) -> Result<(), CoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // Opened anew each time: a source may have more shards than a process may have files.
        let file = match self.file.take() {
            Some(file) => file,
            None => ScratchFile::create(store)?.0,
        };
        let bytes: Vec<u8> = self.waiting.drain(..).flat_map(u32::to_le_bytes).collect();
        append(file.path(), &bytes)?;
        self.file = Some(file);
        Ok(())
    }
}

fn append(path: &Path, bytes: &[u8]) -> Result<(), CoreError> {
    let file = File::options().append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|e| CoreError::from_io(path, e))
}

/// Reads the codes of a shard.
pub(crate) struct ShardReader {
    file: Option<(BufReader<File>, ScratchFile)>,
}

impl ShardReader {
    /// The next code; `None` at the end.
    ///
    /// # Errors
    /// A broken disk.
    pub(crate) fn next(&mut self) -> Result<Option<Code>, StageError> {
        let Some((reader, file)) = &mut self.file else {
            return Ok(None);
        };
        let mut bytes = [0; 4];
        match reader.read_exact(&mut bytes) {
            Ok(()) => {
                let code = Code::of_u32(u32::from_le_bytes(bytes));
                let broken = || StageError::data(format!("{}: no code", file.path().display()));
                code.map(Some).ok_or_else(broken)
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(CoreError::from_io(file.path(), error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_in_order() -> Result<(), StageError> {
        let folder = tempfile::tempdir().map_err(StageError::environment)?;
        let store = Store::local(folder.path())?;
        let mut codes = Codes::new(&store, 3);
        codes.waiting = 2;
        let pushed = [
            Code::One(0),
            Code::Rejected(DropReason::NotAName),
            Code::Several(7),
            Code::One(MOST_TEXTS - 1),
            Code::Rejected(DropReason::AboveCap),
        ];
        for code in pushed {
            codes.push(0, code)?;
        }
        codes.push(2, Code::One(5))?;
        for (shard, expected) in [(0, &pushed[..]), (1, &[]), (2, &[Code::One(5)])] {
            let (mut reader, mut found) = (codes.take(shard)?, Vec::new());
            while let Some(code) = reader.next()? {
                found.push(code);
            }
            assert_eq!(found, expected);
        }
        let left = std::fs::read_dir(store.local_path(laioncele_core::scratch::SCRATCH));
        assert_eq!(
            left.map_err(StageError::environment)?.count(),
            0,
            "files are deleted"
        );
        Ok(())
    }
}
