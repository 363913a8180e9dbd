//! How many files the process may have open: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process needs besides connections: tables, journals, locks.
const OTHERS: u64 = 256;
/// Connections that are kept open without work, at most, beside one for each request.
const IDLE: u64 = 1024;

/// Lets the process have as many files open as it may, and returns how many requests can be under way at once: `wanted`,
/// or what the limit leaves.
pub(crate) fn requests(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // What cannot be raised is respected below.
    let limit = match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    limit.map_or(wanted, |files| wanted.min(left(files)))
}

/// Requests that `files` leave room for.
fn left(files: u64) -> usize {
    let left = files.saturating_sub(OTHERS);
    // A low limit is shared between requests and idle connections.
    let requests = left.saturating_sub(IDLE).max(left / 2).max(1);
    usize::try_from(requests).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_mean_fewer_requests() {
        assert_eq!(left(0), 1);
        assert_eq!(left(1024), 384);
        assert_eq!(left(20_000), 20_000 - 256 - 1024);
        assert_eq!(requests(3), 3);
    }
}
