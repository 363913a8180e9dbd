use proptest::prelude::*;

use super::*;

fn filled(path: &Path, entries: &[(u64, &str, &[u8])]) -> Result<(), JournalError> {
    let mut journal = Journal::open(path)?;
    for (id, head, body) in entries {
        journal.append(*id, head, body)?;
    }
    Ok(())
}

fn contents(journal: &mut Journal) -> Result<Vec<(u64, String, Vec<u8>)>, JournalError> {
    let places = journal.places().to_vec();
    let read = |p: &Place| Ok((p.id, journal.head(p)?, journal.body(p)?));
    places.iter().map(read).collect()
}

#[test]
fn entries_are_there_before_and_after_reopening() -> Result<(), JournalError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("j");
    let big = vec![7; BUFFER + 1];
    let mut journal = Journal::open(&path)?;
    journal.append(u64::MAX, &"a", b"")?;
    journal.append(3, &"b", &big)?;
    journal.append(3, &"c", b"x")?;
    let expected = [
        (u64::MAX, "a".to_owned(), Vec::new()),
        (3, "b".to_owned(), big),
        (3, "c".to_owned(), b"x".to_vec()),
    ];
    assert_eq!(contents(&mut journal)?, expected);
    drop(journal);
    let mut journal = Journal::open(&path)?;
    assert_eq!(contents(&mut journal)?, expected);
    journal.sort()?;
    let latest = contents(&mut journal)?;
    assert_eq!(latest, [expected[2].clone(), expected[0].clone()]);
    // What comes later stands behind, until it is sorted too.
    journal.append(3, &"d", b"")?;
    assert_eq!(journal.places().len(), 3);
    journal.sort()?;
    let heads: Vec<String> = contents(&mut journal)?.into_iter().map(|e| e.1).collect();
    assert_eq!(heads, ["d", "a"]);
    journal.delete()?;
    assert!(!path.exists());
    Ok(())
}

#[test]
fn a_second_opener_is_told() -> Result<(), JournalError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("j");
    let first = Journal::open(&path)?;
    assert!(matches!(
        Journal::open(&path),
        Err(JournalError::Locked { .. })
    ));
    drop(first);
    Journal::open(&path).map(drop)
}

#[test]
fn another_file_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("photo.jpg");
    std::fs::write(&path, "somebody's work").expect("written");
    assert!(matches!(
        Journal::open(&path),
        Err(JournalError::NotAJournal { .. })
    ));
    assert_eq!(std::fs::read(&path).expect("read"), b"somebody's work");
}

#[test]
fn a_head_of_another_form_is_named() -> Result<(), JournalError> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(&folder.path().join("j"))?;
    journal.append(9, &"text", b"")?;
    let place = journal.places()[0];
    assert!(matches!(
        journal.head::<Vec<u64>>(&place),
        Err(JournalError::Head { id: 9, .. })
    ));
    Ok(())
}

/// A device that is always full stands for a full disk.
#[test]
fn what_cannot_be_written_is_said_and_nothing_follows_it() -> Result<(), JournalError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("j");
    let mut journal = Journal::open(&path)?;
    journal.append(1, &"kept", b"")?;
    journal.flush()?;
    let file = std::mem::replace(
        &mut journal.file,
        OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("opens"),
    );
    journal.append(2, &"lost", b"").or(Ok(()))?;
    for _ in 0..2 {
        let error = journal.flush().expect_err("a full disk");
        assert!(
            matches!(error, JournalError::Write { kept: 1, .. }),
            "{error}"
        );
    }
    journal.file = file;
    assert_eq!(journal.places().len(), 1);
    assert_eq!(contents(&mut journal)?[0].1, "kept");
    drop(journal);
    assert_eq!(Journal::open(&path)?.places().len(), 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut or damaged anywhere, the entries before that place are kept, and new ones can follow.
    #[test]
    fn a_torn_tail_is_cut_off(cut in 0usize..2000, flip: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("j");
        let entries: [(u64, &str, &[u8]); 3] = [(1, "one", &[1; 30]), (2, "two", &[]), (3, "three", &[3; 90])];
        filled(&path, &entries).expect("written");
        let mut bytes = std::fs::read(&path).expect("read");
        let cut = MARK.len() + cut % (bytes.len() - MARK.len());
        if flip { bytes[cut] ^= 0x40 } else { bytes.truncate(cut) }
        std::fs::write(&path, &bytes).expect("written");

        let mut journal = Journal::open(&path).expect("opens");
        let whole = journal.places().len();
        prop_assert!(whole < 3);
        let expected: Vec<_> = entries[..whole].iter().map(|(i, h, b)| (*i, (*h).to_owned(), b.to_vec())).collect();
        prop_assert_eq!(&contents(&mut journal).expect("read")[..], &expected[..]);
        journal.append(4, &"four", b"").expect("written");
        drop(journal);
        let mut journal = Journal::open(&path).expect("opens");
        prop_assert_eq!(&contents(&mut journal).expect("read")[..whole], &expected[..]);
        prop_assert_eq!(journal.places().len(), whole + 1);
    }

    #[test]
    fn any_bytes_are_scanned(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("j");
        let bytes = [&MARK[..], &tail].concat();
        std::fs::write(&path, bytes).expect("written");
        prop_assert!(Journal::open(&path).is_ok());
    }
}
