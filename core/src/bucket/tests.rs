use object_store::memory::InMemory;

use super::*;

fn bucket(objects: Arc<dyn ObjectStore>) -> Bucket {
    let runtime = address::runtime().expect("a runtime");
    Bucket::of(objects, runtime, "s3://bucket/run/")
}

fn in_memory() -> Bucket {
    let objects = Arc::new(InMemory::new());
    Bucket {
        uploads: Some(objects.clone()),
        ..bucket(objects)
    }
}

#[test]
fn a_store_that_keeps_conditions_passes_the_check_and_keeps_nothing_of_it() -> Result<(), CoreError>
{
    let bucket = in_memory();
    bucket.check()?;
    assert!(bucket.list("")?.is_empty());
    Ok(())
}

#[test]
fn exactly_one_of_many_creators_wins() -> Result<(), CoreError> {
    let bucket = in_memory();
    let wins: usize = std::thread::scope(|scope| {
        let create = |k: u8| {
            let bucket = &bucket;
            scope.spawn(move || bucket.create("ledger/x.json", &vec![k; 1000].into()))
        };
        let threads: Vec<_> = (0..8).map(create).collect();
        let won = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            usize::from(matches!(thread.join(), Ok(Ok(Created::Won))))
        };
        threads.into_iter().map(won).sum()
    });
    assert_eq!(wins, 1);
    // The same bytes again: an answer that got lost.
    let bytes = bucket.get("ledger/x.json")?;
    assert_eq!(bucket.create("ledger/x.json", &bytes)?, Created::Won);
    Ok(())
}

#[test]
fn what_is_large_is_sent_in_pieces_and_comes_back_whole() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = in_memory();
    for size in [0, 5, MOST_IN_ONE as usize, MOST_IN_ONE as usize + 12_345] {
        let file = folder.path().join("file");
        let bytes: Vec<u8> = (0..size).map(|k| (k % 251) as u8).collect();
        std::fs::write(&file, &bytes).expect("written");
        bucket.upload(&file, "tables/x.parquet")?;
        assert_eq!(bucket.get("tables/x.parquet")?, bytes);
        assert_eq!(bucket.size("tables/x.parquet")?, Some(size as u64));
        assert!(bucket.list(UPLOADS)?.is_empty());
    }
    assert!(
        matches!(bucket.get("gone"), Err(CoreError::Missing { path }) if path.ends_with("run/gone"))
    );
    assert_eq!(bucket.size("gone")?, None);
    Ok(())
}

#[test]
fn a_folder_is_moved_over_another() -> Result<(), CoreError> {
    let bucket = in_memory();
    for path in ["a/1", "a/b/2", "ab/3", "c/old"] {
        bucket.put(path, Bytes::from(path))?;
    }
    bucket.move_folder("a", "c")?;
    bucket.move_folder("nothing", "c")?;
    let mut names: Vec<String> = bucket.names("")?.iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["ab/3", "c/1", "c/b/2"]);
    assert_eq!(bucket.get("c/b/2")?, "a/b/2");
    assert!(bucket.any("c")? && !bucket.any("a")?);
    Ok(())
}

#[test]
fn only_the_version_that_was_seen_is_replaced() -> Result<(), CoreError> {
    let bucket = in_memory();
    assert!(bucket.look("lock")?.is_none());
    bucket.put("lock", Bytes::from_static(b"one"))?;
    let seen = bucket.look("lock")?.expect("it is there");
    assert!(seen.bytes == "one" && seen.age < Duration::from_mins(1));
    let two = Bytes::from_static(b"two");
    let version = bucket
        .replace("lock", &two, &seen.version)?
        .expect("replaced");
    let three = Bytes::from_static(b"three");
    assert_eq!(bucket.replace("lock", &three, &seen.version)?, None);
    assert!(bucket.replace("lock", &three, &version)?.is_some());
    bucket.delete("lock")?;
    bucket.delete("lock")?;
    assert_eq!(bucket.replace("lock", &two, &version)?, None);
    Ok(())
}

#[test]
fn what_is_too_large_to_be_copied_at_once_is_copied_in_pieces() -> Result<(), CoreError> {
    let bucket = in_memory();
    for size in [1, PIECE, 2 * PIECE + 77] {
        let bytes: Vec<u8> = (0..size).map(|k| (k % 253) as u8).collect();
        bucket.put("from", bytes.clone().into())?;
        bucket.copy_in_pieces("from", "to", size as u64)?;
        assert!(bucket.get("to")? == bytes, "{size}");
    }
    // The source ends before its time: nothing appears under the name.
    let cut = bucket.copy_in_pieces("from", "cut", 4 * PIECE as u64);
    assert!(cut.is_err() && bucket.size("cut")?.is_none());
    Ok(())
}

/// As a kill leaves one: pieces in the store, and the note.
#[test]
fn an_upload_that_was_cut_off_is_given_up() -> Result<(), CoreError> {
    let objects = Arc::new(InMemory::new());
    let bucket = Bucket {
        uploads: Some(objects.clone()),
        ..bucket(objects)
    };
    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut pieces = 0;
        bucket.send_pieces("tables/x.parquet", || {
            pieces += 1;
            assert!(pieces < 6, "as a kill would");
            Ok(vec![7; PIECE].into())
        })
    }));
    assert!(sent.is_err());
    let noted = bucket.list(UPLOADS)?;
    assert_eq!(noted.len(), 1);
    let noted = noted[0].location.to_string();
    bucket.abandon_upload(&noted)?;
    assert!(bucket.list("")?.is_empty());
    assert!(matches!(
        bucket.abandon_upload(&noted),
        Err(CoreError::Missing { .. })
    ));
    Ok(())
}
