//! An S3 server on the loopback device, with what object stores do to those who trust them: refusals, silence, cut answers,
//! answers that get lost, conditions that are ignored. It checks signatures, so that wrong keys are wrong.
//!
//! Objects are in memory. Known: put, get with ranges, head, delete, bulk delete, copy, list in pages, multipart uploads,
//! `If-None-Match: *` and `If-Match`.

mod http;
mod signature;

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use http::{Answer, Request, utc};

/// The only bucket.
pub(crate) const BUCKET: &str = "runs";
/// The keys that are right.
pub(crate) const ACCESS_KEY: &str = "AKIALAIONCELETEST";
pub(crate) const SECRET_KEY: &str = "test/secret/of/laioncele";
/// Objects in a page of a listing: few, so that listings have several.
const PAGE: usize = 50;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store is too busy: 503, with nothing done.
    Busy,
    /// An answer after so long.
    Slow(Duration),
    /// The first half of an answer's body.
    Cut,
    /// What was asked is done, and no answer comes.
    Lost,
}

/// A running server. It ends with the process.
pub(crate) struct S3Server {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, Object>>,
    uploads: Mutex<HashMap<String, BTreeMap<u32, Vec<u8>>>>,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
    versions: AtomicU64,
}

#[derive(Clone, Default)]
struct Behaviour {
    /// Of every so many requests one goes wrong.
    fault: Option<(u64, Fault)>,
    ignores_conditions: bool,
    read_only: bool,
}

#[derive(Clone)]
struct Object {
    bytes: Arc<Vec<u8>>,
    etag: String,
    modified: SystemTime,
}

impl S3Server {
    /// Starts one with an empty bucket.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || state.serve(&stream));
            }
        });
        Self { address, state }
    }

    /// Tells `command` where the server is, and the right keys.
    pub(crate) fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_ENDPOINT", format!("http://{}", self.address))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env_remove("AWS_SESSION_TOKEN")
    }

    /// From now on one of `every` requests goes wrong.
    pub(crate) fn fails(&self, every: u64, fault: Fault) {
        lock(&self.state.behaviour).fault = Some((every, fault));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn recovers(&self) {
        *lock(&self.state.behaviour) = Behaviour::default();
    }

    /// From now on puts with a condition are puts.
    pub(crate) fn ignores_conditions(&self) {
        lock(&self.state.behaviour).ignores_conditions = true;
    }

    /// From now on nobody may write.
    pub(crate) fn is_read_only(&self) {
        lock(&self.state.behaviour).read_only = true;
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// The names of all objects below `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let objects = lock(&self.state.objects);
        let names = objects.keys().filter(|name| name.starts_with(prefix));
        names.cloned().collect()
    }

    /// An object's bytes.
    pub(crate) fn object(&self, name: &str) -> Option<Vec<u8>> {
        let objects = lock(&self.state.objects);
        objects.get(name).map(|object| object.bytes.to_vec())
    }

    /// Puts `bytes` in the place of an object, or takes it away.
    pub(crate) fn replace(&self, name: &str, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => drop(self.state.write(name, bytes)),
            None => drop(lock(&self.state.objects).remove(name)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Answers the requests of a connection until it ends.
    fn serve(&self, stream: &TcpStream) {
        drop(stream.set_nodelay(true));
        while let Some(request) = Request::read(stream) {
            let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
            let behaviour = lock(&self.behaviour).clone();
            let fault = behaviour
                .fault
                .filter(|(every, _)| number.is_multiple_of(*every));
            let answer = match fault {
                Some((_, Fault::Busy)) => Answer::error(503, "SlowDown"),
                _ => self.answer(&request, &behaviour),
            };
            let sent = match fault {
                Some((_, Fault::Lost)) => return,
                Some((_, Fault::Cut)) => {
                    answer.send_half(stream, request.is_head());
                    return;
                }
                Some((_, Fault::Slow(time))) => {
                    thread::sleep(time);
                    answer.send(stream, request.is_head())
                }
                _ => answer.send(stream, request.is_head()),
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, behaviour: &Behaviour) -> Answer {
        if let Err(code) = signature::check(request) {
            return Answer::error(403, code);
        }
        let (bucket, name) = request.place();
        if bucket != BUCKET {
            return Answer::error(404, "NoSuchBucket");
        }
        if behaviour.read_only && !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Answer::error(403, "AccessDenied");
        }
        match (request.method.as_str(), name.is_empty()) {
            ("GET", true) => self.list(request),
            ("POST", true) => self.delete_many(request),
            ("GET" | "HEAD", false) => self.get(request, &name),
            ("PUT", false) if request.query.contains_key("partNumber") => self.put_piece(request),
            ("PUT", false) if request.header("x-amz-copy-source").is_some() => {
                self.copy(request, &name)
            }
            ("PUT", false) => self.put(request, &name, behaviour),
            ("DELETE", false) if request.query.contains_key("uploadId") => {
                lock(&self.uploads).remove(&request.query["uploadId"]);
                Answer::empty(204)
            }
            ("DELETE", false) => {
                lock(&self.objects).remove(&name);
                Answer::empty(204)
            }
            ("POST", false) if request.query.contains_key("uploads") => self.begin_upload(),
            ("POST", false) => self.end_upload(request, &name),
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }

    fn write(&self, name: &str, bytes: Vec<u8>) -> String {
        self.write_into(&mut lock(&self.objects), name, bytes)
    }

    fn write_into(
        &self,
        objects: &mut BTreeMap<String, Object>,
        name: &str,
        bytes: Vec<u8>,
    ) -> String {
        // As on S3 the same bytes may have the same tag: nobody may take it for a number of versions.
        let version = match bytes.len() {
            0..100 => self.versions.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let digest = laioncele_core::Digest::of(&bytes).short();
        let etag = format!("\"{digest}-{version}\"");
        let object = Object {
            bytes: Arc::new(bytes),
            etag: etag.clone(),
            modified: SystemTime::now(),
        };
        objects.insert(name.to_owned(), object);
        etag
    }

    fn put(&self, request: &Request, name: &str, behaviour: &Behaviour) -> Answer {
        let mut objects = lock(&self.objects);
        let found = objects.get(name).map(|object| object.etag.clone());
        if !behaviour.ignores_conditions {
            if request.header("if-none-match") == Some("*") && found.is_some() {
                return Answer::error(412, "PreconditionFailed");
            }
            match (request.header("if-match"), found) {
                (Some(_), None) => return Answer::error(404, "NoSuchKey"),
                (Some(wanted), Some(found)) if wanted != found => {
                    return Answer::error(412, "PreconditionFailed");
                }
                _ => {}
            }
        }
        let etag = self.write_into(&mut objects, name, request.body.clone());
        Answer::empty(200).with("ETag", etag)
    }

    fn copy(&self, request: &Request, name: &str) -> Answer {
        let source = http::decoded(request.header("x-amz-copy-source").unwrap_or_default());
        let source = source.trim_start_matches('/');
        let source = source.strip_prefix(&format!("{BUCKET}/")).unwrap_or(source);
        let Some(object) = lock(&self.objects).get(source).cloned() else {
            return Answer::error(404, "NoSuchKey");
        };
        let etag = self.write(name, object.bytes.to_vec());
        let when = utc(SystemTime::now()).rfc3339();
        Answer::xml(format!(
            "<CopyObjectResult><ETag>{}</ETag><LastModified>{when}</LastModified></CopyObjectResult>",
            escaped(&etag)
        ))
    }

    fn get(&self, request: &Request, name: &str) -> Answer {
        let Some(object) = lock(&self.objects).get(name).cloned() else {
            return Answer::error(404, "NoSuchKey");
        };
        let wanted = request.header("if-match");
        if wanted.is_some_and(|wanted| wanted != object.etag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let size = object.bytes.len();
        let answer = match request
            .header("range")
            .map(|range| http::range(range, size))
        {
            None => Answer::of(200, object.bytes.to_vec()),
            Some(None) => return Answer::error(416, "InvalidRange"),
            Some(Some(range)) => {
                let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                Answer::of(206, object.bytes[range].to_vec()).with("Content-Range", said)
            }
        };
        answer
            .with("ETag", object.etag)
            .with("Last-Modified", utc(object.modified).rfc2822())
    }

    fn list(&self, request: &Request) -> Answer {
        let asked = |name: &str| request.query.get(name).cloned();
        let prefix = asked("prefix").unwrap_or_default();
        let after = asked("continuation-token").or_else(|| asked("start-after"));
        let objects = lock(&self.objects);
        let wanted = objects.iter().filter(|(name, _)| {
            name.starts_with(&prefix) && after.as_ref().is_none_or(|after| *name > after)
        });
        let page: Vec<_> = wanted.clone().take(PAGE).collect();
        let more = wanted.count() > page.len();
        let mut text = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
        if let (true, Some((last, _))) = (more, page.last()) {
            let last = escaped(last);
            text += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
        }
        for (name, object) in page {
            text += &format!(
                "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified><ETag>{}</ETag></Contents>",
                escaped(name),
                object.bytes.len(),
                utc(object.modified).rfc3339(),
                escaped(&object.etag)
            );
        }
        Answer::xml(text + "</ListBucketResult>")
    }

    fn delete_many(&self, request: &Request) -> Answer {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let mut objects = lock(&self.objects);
        let mut said = "<DeleteResult>".to_owned();
        for key in text.split("<Key>").skip(1) {
            let key = key.split("</Key>").next().unwrap_or_default();
            objects.remove(&unescaped(key));
            said += &format!("<Deleted><Key>{key}</Key></Deleted>");
        }
        Answer::xml(said + "</DeleteResult>")
    }

    fn begin_upload(&self) -> Answer {
        let id = format!("upload-{}", self.versions.fetch_add(1, Ordering::Relaxed));
        lock(&self.uploads).insert(id.clone(), BTreeMap::new());
        Answer::xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_piece(&self, request: &Request) -> Answer {
        let number = request.query["partNumber"].parse().unwrap_or_default();
        let id = request.query.get("uploadId").cloned().unwrap_or_default();
        let mut uploads = lock(&self.uploads);
        let Some(pieces) = uploads.get_mut(&id) else {
            return Answer::error(404, "NoSuchUpload");
        };
        pieces.insert(number, request.body.clone());
        Answer::empty(200).with("ETag", format!("\"piece-{number}\""))
    }

    fn end_upload(&self, request: &Request, name: &str) -> Answer {
        let id = request.query.get("uploadId").cloned().unwrap_or_default();
        let Some(pieces) = lock(&self.uploads).remove(&id) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let least = pieces.values().rev().skip(1).map(Vec::len).min();
        if least.is_some_and(|least| least < 5 << 20) {
            return Answer::error(400, "EntityTooSmall");
        }
        let etag = self.write(name, pieces.into_values().flatten().collect());
        let etag = escaped(&etag);
        Answer::xml(format!(
            "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        ))
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&amp;", "&")
}
