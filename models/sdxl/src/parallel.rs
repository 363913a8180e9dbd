//! Several images at once on the processor: each job on a thread of its own beats one job on all of
//! them, because an image's matrix products are too small to share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Runs `work` on every job, up to `threads` jobs at once, and hands each result with its job's
/// number to `each` on the calling thread as it comes. 0 threads are as many as the machine has;
/// threads that have no job of their own are shared out among the jobs. The first error of `each`
/// stops the rest: jobs at work are finished, none is begun.
///
/// # Errors
/// What `each` returns.
pub fn in_parallel<Job: Sync, Done: Send, Stop>(
    threads: usize,
    jobs: &[Job],
    work: impl Fn(&Job) -> Done + Sync,
    mut each: impl FnMut(usize, Done) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let workers = threads.min(jobs.len().max(1));
    let (next, work) = (AtomicUsize::new(0), &work);
    // As many results may wait as are being made: a slow receiver holds the workers up instead of
    // filling memory.
    let (sender, receiver) = mpsc::sync_channel(workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                on_threads(threads / workers, || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { break };
                        if sender.send((index, work(job))).is_err() {
                            break;
                        }
                    }
                });
            });
        }
        drop(sender);
        let mut results = receiver.into_iter();
        // Leaving early drops the receiver, which is what tells the workers to stop.
        results.try_for_each(|(index, done)| each(index, done))
    })
}

/// Runs `work` where parallel operations use `count` threads. Without such a pool it only takes
/// another time.
fn on_threads(count: usize, work: impl FnOnce() + Send) {
    match rayon::ThreadPoolBuilder::new()
        .num_threads(count.max(1))
        .build()
    {
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::debug!(%error, "no thread pool of its own");
            work();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_whatever_the_threads() {
        let jobs: Vec<u64> = (0..50).collect();
        for threads in [0, 1, 3, 200] {
            let mut found = vec![0; jobs.len()];
            let each = |index: usize, square: u64| {
                found[index] += square;
                Ok::<(), ()>(())
            };
            in_parallel(threads, &jobs, |job| job * job, each).expect("no error");
            assert_eq!(found, jobs.iter().map(|job| job * job).collect::<Vec<_>>());
        }
        in_parallel(2, &[], |job: &u64| *job, |_, _| Err("none is there")).expect("nothing");
    }

    #[test]
    fn an_error_stops_the_rest() {
        let (begun, jobs) = (AtomicUsize::new(0), vec![(); 10_000]);
        let work = |(): &()| begun.fetch_add(1, Ordering::Relaxed);
        let stopped = in_parallel(2, &jobs, work, |_, _| Err("enough"));
        assert_eq!(stopped, Err("enough"));
        assert!(begun.into_inner() < jobs.len());
    }

    #[test]
    fn spare_threads_are_shared_out() {
        let mut seen = Vec::new();
        let each = |_, count| {
            seen.push(count);
            Ok::<(), ()>(())
        };
        in_parallel(6, &[(), ()], |()| rayon::current_num_threads(), each).expect("no error");
        assert_eq!(seen, [3, 3]);
    }
}
