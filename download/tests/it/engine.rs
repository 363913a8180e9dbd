//! What comes out, in which order, and how much is held meanwhile.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use laioncele_core::DropReason;
use laioncele_download::{Done, Engine, EngineSettings, Item, LOOK_AHEAD};
use laioncele_web::Failure;

use crate::server::{Answer, Server, settings};

pub(crate) fn items(urls: impl IntoIterator<Item = String>) -> impl Iterator<Item = Item> {
    (0..).zip(urls).map(|(id, url)| Item { id, url })
}

/// All outcomes, in order.
pub(crate) fn download(engine: &Engine, urls: Vec<String>) -> Vec<Done<usize>> {
    let mut all = Vec::new();
    let sink = |done| {
        all.push(done);
        ControlFlow::Continue(())
    };
    let length = |_: &Item, bytes: Vec<u8>| Ok(bytes.len());
    engine.download(items(urls), length, sink, &AtomicBool::new(false));
    all
}

pub(crate) fn engine(server: &Server, settings: EngineSettings) -> Engine {
    Engine::new(settings, server.map()).expect("an engine")
}

#[test]
fn every_item_ends_once_in_order_of_arrival() {
    let server = Server::new(|request| match request.path.as_str() {
        "/slow" => Answer::ok("four").later(Duration::from_millis(400)),
        "/missing" => Answer::status(404),
        _ => Answer::ok("seven b"),
    });
    let engine = engine(&server, settings());
    let mut urls = vec![
        "http://a.example/slow".to_owned(),
        "http://a.example/missing".to_owned(),
        "no url".to_owned(),
    ];
    urls.extend((0..50).map(|n| format!("http://b{n}.example/x")));
    let all = download(&engine, urls);
    assert_eq!(all.len(), 53);
    assert_eq!(all.last().map(|d| d.id), Some(0));
    let by_id: HashMap<_, _> = all.into_iter().map(|d| (d.id, d)).collect();
    assert_eq!(by_id.len(), 53);
    assert_eq!(by_id[&0].result, Ok(4));
    let reason = |id: u64| by_id[&id].result.as_ref().map_err(|f| f.reason);
    assert_eq!(reason(1), Err(DropReason::Http4xx));
    assert_eq!(by_id[&1].attempts[0].status, Some(404));
    assert_eq!(reason(2), Err(DropReason::BadUrl));
    assert!(by_id[&2].attempts.is_empty(), "nobody was asked");
    assert!((3..53).all(|id| by_id[&id].result == Ok(7)));
}

#[test]
fn what_may_pass_is_tried_again_and_every_try_is_kept() {
    let server = Server::new(|request| match request.before {
        0 | 1 => Answer::status(500),
        _ => Answer::ok("x"),
    });
    let all = download(
        &engine(&server, settings()),
        vec!["http://a.example/".to_owned()],
    );
    assert_eq!(all[0].result, Ok(1));
    let tries: Vec<_> = all[0]
        .attempts
        .iter()
        .map(|a| (a.class, a.status))
        .collect();
    let failed = (Some(DropReason::Http5xx), Some(500));
    assert_eq!(tries, [failed, failed, (None, Some(200))]);
}

#[test]
fn a_redirect_between_two_hosts_needs_no_more_than_one_request_at_once() {
    let server = Server::new(
        |request| match (request.host.as_str(), request.path.as_str()) {
            ("a.example", "/0") => Answer::redirect("http://b.example/end"),
            ("b.example", "/1") => Answer::redirect("http://a.example/end"),
            _ => Answer::ok("end"),
        },
    );
    let tight = EngineSettings {
        concurrency: 1,
        per_host: 1,
        ..settings()
    };
    let urls = (0..20).map(|n| match n % 2 {
        0 => "http://a.example/0".to_owned(),
        _ => "http://b.example/1".to_owned(),
    });
    let all = download(&engine(&server, tight), urls.collect());
    assert_eq!(all.iter().filter(|d| d.result == Ok(3)).count(), 20);
    assert!(
        all.iter()
            .any(|d| d.redirected_to.as_deref() == Some("http://b.example/end"))
    );
}

#[test]
fn a_panic_costs_one_item() {
    let server = Server::new(|_| Answer::ok("x"));
    let engine = engine(&server, settings());
    let urls = (0..20).map(|n| format!("http://a.example/{n}"));
    let mut all = HashMap::new();
    engine.download(
        items(urls),
        |item, bytes| {
            assert!(item.id != 7, "made to panic");
            Ok(bytes.len())
        },
        |done| {
            all.insert(done.id, done.result);
            ControlFlow::Continue(())
        },
        &AtomicBool::new(false),
    );
    let panicked = all.remove(&7).expect("an outcome").expect_err("no photo");
    assert_eq!(panicked.reason, DropReason::Corrupt);
    assert!(panicked.detail.is_some_and(|d| d.contains("panicked")));
    assert_eq!(all.len(), 19);
    assert!(all.values().all(|r| *r == Ok(1)));
}

#[test]
fn items_are_taken_as_there_is_room_for_them() {
    let server = Server::new(|_| Answer::ok("x"));
    let engine = engine(&server, settings());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let urls = (0..3 * LOOK_AHEAD).map(|n| format!("no url {n}"));
    let urls = urls.inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let (mut ended, mut most) = (0, 0);
    let sink = |_: Done<()>| {
        most = most.max(taken.load(Ordering::Relaxed) - ended);
        ended += 1;
        ControlFlow::Continue(())
    };
    engine.download(items(urls), |_, _| Ok(()), sink, &AtomicBool::new(false));
    assert_eq!(ended, 3 * LOOK_AHEAD);
    assert!(most <= LOOK_AHEAD, "{most}");
}

#[test]
fn bodies_keep_to_the_memory() {
    const BODY: usize = 2 << 20;
    static HELD: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    struct Photo(Vec<u8>);
    impl Drop for Photo {
        fn drop(&mut self) {
            HELD.fetch_sub(self.0.len(), Ordering::SeqCst);
        }
    }
    let server = Server::new(|_| Answer::ok(vec![0; BODY]));
    let small = EngineSettings {
        memory: 8 << 20,
        ..settings()
    };
    let urls = (0..60).map(|n| format!("http://a{n}.example/"));
    let mut ended = 0;
    engine(&server, small).download(
        items(urls),
        |_, bytes| {
            let held = HELD.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
            MOST.fetch_max(held, Ordering::SeqCst);
            Ok(Photo(bytes))
        },
        |done| {
            // A caller that is slower than the web.
            std::thread::sleep(Duration::from_millis(5));
            ended += usize::from(done.result.is_ok());
            ControlFlow::Continue(())
        },
        &AtomicBool::new(false),
    );
    assert_eq!(ended, 60);
    let most = MOST.load(Ordering::SeqCst);
    assert!(most <= (8 << 20) + BODY, "{most} bytes at once");
}

#[test]
fn a_cancelled_download_ends_though_servers_say_nothing() {
    let server = Server::new(|request| match request.path.as_str() {
        "/0" => Answer::ok("x"),
        _ => Answer::Never,
    });
    let engine = engine(&server, settings());
    let cancelled = AtomicBool::new(false);
    let urls = (0..100).map(|n| format!("http://a.example/{n}"));
    let mut ended = 0;
    let sink = |_: Done<()>| {
        ended += 1;
        cancelled.store(true, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    engine.download(items(urls), |_, _| Ok(()), sink, &cancelled);
    assert_eq!(ended, 1);
    // What was under way is broken off, so that its turns are free again.
    let all = download(&engine, vec!["http://a.example/0".to_owned()]);
    assert_eq!(all[0].result, Ok(1));
}

#[test]
fn a_sink_that_breaks_off_gets_no_more() {
    let server = Server::new(|_| Answer::ok("x"));
    let urls = (0..100).map(|n| format!("http://a{n}.example/"));
    let mut ended = 0;
    let sink = |_: Done<()>| {
        ended += 1;
        if ended == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let process = |_: &Item, _| Err(Failure::last(DropReason::NotAnImage, None));
    engine(&server, settings()).download(items(urls), process, sink, &AtomicBool::new(false));
    assert_eq!(ended, 3);
}
