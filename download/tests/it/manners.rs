//! How hosts are treated: in turn, within their limits, left alone when they ask for it or say nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use laioncele_core::DropReason;
use laioncele_download::{Done, EngineSettings};
use laioncele_web::WebSettings;

use crate::engine::{download, engine};
use crate::server::{Answer, Server, settings};

#[test]
fn a_host_with_many_urls_neither_starves_nor_is_starved() {
    let server = Server::new(|_| Answer::ok("x").later(Duration::from_millis(3)));
    let limited = EngineSettings {
        concurrency: 16,
        per_host: 4,
        ..settings()
    };
    let big = (0..1000).map(|n| format!("http://big.example/{n}"));
    let small = (0..100).map(|n| format!("http://small{n}.example/"));
    let all = download(&engine(&server, limited), big.chain(small).collect());
    assert!(all.iter().all(|d| d.result == Ok(1)));
    let last_small = all.iter().rposition(|d| d.id >= 1000);
    assert!(last_small < Some(500), "small hosts waited: {last_small:?}");
    assert_eq!(server.asked("big.example").most, 4);
}

#[test]
fn two_downloads_at_once_share_an_engine() {
    let server = Server::new(|_| Answer::ok("x").later(Duration::from_millis(2)));
    let engine = engine(
        &server,
        EngineSettings {
            concurrency: 8,
            ..settings()
        },
    );
    let long_is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let urls = (0..3000).map(|n| format!("http://long{}.example/{n}", n % 7));
            assert_eq!(download(&engine, urls.collect()).len(), 3000);
            long_is_over.store(true, Ordering::SeqCst);
        });
        while server.asked("long0.example").requests.is_empty() {
            std::thread::yield_now();
        }
        let urls = (0..50).map(|n| format!("http://short.example/{n}"));
        assert_eq!(download(&engine, urls.collect()).len(), 50);
        assert!(
            !long_is_over.load(Ordering::SeqCst),
            "the short one waited for the long one"
        );
    });
}

#[test]
fn a_host_that_says_nothing_is_left_alone_and_blocks_nobody() {
    let server = Server::new(|request| match request.host.as_str() {
        "silent.example" => Answer::Never,
        _ => Answer::ok("x"),
    });
    let impatient = EngineSettings {
        web: WebSettings {
            timeout: Duration::from_millis(300),
            ..WebSettings::default()
        },
        retries: 1,
        per_host: 2,
        breaker_after: 4,
        ..settings()
    };
    let silent = (0..200).map(|n| format!("http://silent.example/{n}"));
    let others = (0..20).map(|n| format!("http://a{n}.example/"));
    let all = download(&engine(&server, impatient), silent.chain(others).collect());
    let is_silent = |d: &&Done<usize>| d.id < 200;
    let reasons = all
        .iter()
        .filter(is_silent)
        .map(|d| d.result.as_ref().map_err(|f| f.reason));
    assert!(reasons.eq(std::iter::repeat_n(Err(DropReason::Timeout), 200)));
    assert!(
        all.iter()
            .filter(|d| !is_silent(d))
            .all(|d| d.result == Ok(1))
    );
    // Four in a row, and what was under way or began while the fourth was being counted.
    let asked = server.asked("silent.example").requests.len();
    assert!((4..=6).contains(&asked), "{asked} requests");
    let unasked: Vec<_> = all
        .iter()
        .filter(is_silent)
        .filter(|d| d.attempts.is_empty())
        .collect();
    assert!(unasked.len() >= 194);
    let detail = unasked[0]
        .result
        .as_ref()
        .expect_err("no photo")
        .detail
        .clone();
    let detail = detail.expect("a detail");
    assert!(
        detail.starts_with("not asked: silent.example failed"),
        "{detail}"
    );
}

#[test]
fn a_host_that_recovers_is_asked_again() {
    let recovered = Arc::new(AtomicBool::new(false));
    let up = recovered.clone();
    let server = Server::new(move |_| match up.load(Ordering::SeqCst) {
        false => Answer::Never,
        true => Answer::ok("x"),
    });
    let impatient = EngineSettings {
        web: WebSettings {
            timeout: Duration::from_millis(100),
            ..WebSettings::default()
        },
        retries: 0,
        breaker_after: 2,
        deadline: Duration::from_secs(1),
        ..settings()
    };
    let engine = engine(&server, impatient);
    let urls = |count| {
        (0..count)
            .map(|n| format!("http://a.example/{n}"))
            .collect()
    };
    assert!(download(&engine, urls(5)).iter().all(|d| d.result.is_err()));
    recovered.store(true, Ordering::SeqCst);
    let unasked = download(&engine, urls(5));
    assert!(
        unasked
            .iter()
            .all(|d| d.attempts.is_empty() && d.result.is_err())
    );
    // Twice the deadline later it is asked once, and then for all.
    std::thread::sleep(Duration::from_millis(2200));
    assert!(download(&engine, urls(5)).iter().all(|d| d.result == Ok(1)));
}

#[test]
fn retry_after_holds_for_the_whole_host() {
    let server = Server::new(|request| match (request.path.as_str(), request.before) {
        ("/0", 0) => Answer::status(429).with("Retry-After: 1"),
        _ => Answer::ok("x"),
    });
    let one_by_one = EngineSettings {
        per_host: 1,
        ..settings()
    };
    let urls = (0..5).map(|n| format!("http://a.example/{n}"));
    let all = download(&engine(&server, one_by_one), urls.collect());
    assert!(all.iter().all(|d| d.result == Ok(1)));
    let requests = server.asked("a.example").requests;
    assert_eq!(requests.len(), 6);
    let rest = requests[1].0 - requests[0].0;
    assert!(rest >= Duration::from_secs(1), "asked again after {rest:?}");
}

#[test]
fn a_rate_keeps_requests_to_a_host_apart() {
    let server = Server::new(|_| Answer::ok("x"));
    let slow = EngineSettings {
        per_host_rate: Some(20.0),
        ..settings()
    };
    let urls = (0..6).map(|n| format!("http://a.example/{n}"));
    let all = download(&engine(&server, slow), urls.collect());
    assert!(all.iter().all(|d| d.result == Ok(1)));
    let requests = server.asked("a.example").requests;
    // Five pauses of 50 ms between six requests, however late the first one arrived.
    assert!(requests[5].0 - requests[0].0 >= Duration::from_millis(200));
}

#[test]
fn an_endless_rest_ends_the_url_and_in_time_its_host() {
    let server = Server::new(|_| Answer::status(503).with("Retry-After: 86400"));
    let settings = EngineSettings {
        per_host: 1,
        breaker_after: 2,
        deadline: Duration::from_millis(200),
        ..settings()
    };
    let urls = (0..50).map(|n| format!("http://a.example/{n}"));
    let all = download(&engine(&server, settings), urls.collect());
    assert_eq!(all.len(), 50);
    let class = |d: &Done<usize>| d.result.clone().map_err(|f| f.reason);
    assert!(all.iter().all(|d| class(d) == Err(DropReason::Http5xx)));
    assert_eq!(server.asked("a.example").requests.len(), 2);
}
