//! Work on many small items by all cores of the machine.

/// Items that a thread is started for.
const CHUNK: usize = 512;

/// What `work` makes of each item, in their order, by as many threads as the machine has cores.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(CHUNK);
    if items.len() <= share {
        return items.iter().map(work).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let start = |items| scope.spawn(move || <[T]>::iter(items).map(work).collect::<Vec<_>>());
        let threads: Vec<_> = items.chunks(share).map(start).collect();
        let joined = threads.into_iter().flat_map(|thread| {
            let panicked = |panic| std::panic::resume_unwind(panic);
            thread.join().unwrap_or_else(panicked)
        });
        joined.collect()
    })
}
