//! `laioncele review`: decisions over HTTP and in a browser, applied by the next run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::test_run::TestRun;

/// Ends its process when it goes.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A page that is served.
struct Page {
    _server: Ended,
    url: String,
}

impl Page {
    fn of(world: &TestRun) -> Self {
        let mut command = world.alone(&["review", "--who", "ada"], "output");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Ended(command.spawn().expect("the program"));
        let stdout = server.0.stdout.take().expect("a pipe");
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url).expect("a line");
        let url = url.trim().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Self {
            _server: server,
            url,
        }
    }

    fn address(&self) -> &str {
        let rest = self.url.trim_start_matches("http://");
        rest.split('/').next().expect("an address")
    }

    fn token(&self) -> &str {
        self.url.split_once("token=").expect("a token").1
    }

    /// Asks with the token in the header.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let header = format!("X-Review-Token: {}\r\n", self.token());
        ask(self.address(), method, path, &header, body)
    }

    fn entries(&self) -> Vec<Value> {
        let (status, body) = self.ask("GET", "/identities", "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    fn decide(&self, ruling: &Value) -> (u16, String) {
        self.ask("POST", "/decide", &ruling.to_string())
    }
}

/// A request on a connection of its own; status and body.
fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let wait = stream.set_read_timeout(Some(Duration::from_mins(1)));
    wait.expect("a timeout");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // A server that keeps the connection open is read as far as it has said how long its answer is.
    let mut buffer = [0; 8192];
    loop {
        let read = stream.read(&mut buffer).expect("an answer");
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "cut off: {text}");
            continue;
        };
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length:").nth(1);
        let length = length.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok());
        if read == 0 || length.is_some_and(|length| body.len() >= length) {
            let status = head.split(' ').nth(1).expect("a status");
            return (status.parse().expect("a number"), body.to_owned());
        }
    }
}

fn id(entry: &Value) -> &str {
    entry["id"].as_str().expect("an id")
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().expect("a name")
}

/// The names that have matching photos, as the page has them.
fn names(entries: &[Value]) -> Vec<String> {
    let mut names: Vec<_> = entries.iter().map(|e| name(e).to_owned()).collect();
    names.sort();
    names
}

fn run(world: &TestRun) -> Value {
    TestRun::json(world.alone(&["run", "--json"], "output"), 0)
}

#[test]
fn two_identities_are_merged_by_the_next_run_and_parted_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let before = world.digests("output");
    let page = Page::of(&world);
    let entries = page.entries();
    let (from, into) = (&entries[0], &entries[1]);
    let merge = json!({"ruling": "merge", "name": id(from), "into": id(into)});
    let back = json!({"ruling": "merge", "name": id(into), "into": id(from)});
    let itself = json!({"ruling": "merge", "name": id(into), "into": id(into)});
    let (status, answer) = page.decide(&merge);
    assert_eq!((status, answer.as_str()), (200, "{\"line\":0}"));
    assert_eq!(page.decide(&back).0, 400, "a circle");
    assert_eq!(page.decide(&itself).0, 400);
    // Without the header nothing is decided.
    let query = format!("/decide?token={}", page.token());
    let forged = ask(page.address(), "POST", &query, "", &merge.to_string());
    assert_eq!(forged.0, 403);
    assert_eq!(page.entries()[0]["merged"], json!([id(into), 0]));
    drop(page);

    let ran = run(&world);
    let steps = ran["steps"].as_array().expect("steps");
    let ran_tasks = |step: &str| {
        let step = steps.iter().find(|s| s["step"] == step);
        step.expect("the step")["ran"].as_u64().expect("a number")
    };
    assert_eq!(ran_tasks("merge-spellings"), 1);
    assert_eq!(ran_tasks("extract-names"), 0);
    let told = world.alone(&["explain", "--json", name(from)], "output");
    let told = TestRun::json(told, 0).to_string();
    assert!(
        told.contains("merged in a review") && told.contains(name(into)),
        "{told}"
    );
    let page = Page::of(&world);
    let merged = page.entries();
    assert!(!names(&merged).contains(&name(from).to_owned()));
    let target = merged.iter().find(|entry| id(entry) == id(into));
    let has = &target.expect("the name")["has"];
    assert_eq!(has, &json!([[name(from), 0]]));
    assert_eq!(page.decide(&json!({"ruling": "undo", "line": 0})).0, 200);
    drop(page);

    run(&world);
    assert_eq!(world.digests("output"), before);
    let page = Page::of(&world);
    assert_eq!(names(&page.entries()), names(&entries));
}

/// A browser that a driver steers.
struct Browser {
    _driver: Ended,
    address: String,
    session: String,
}

impl Browser {
    /// None where there is no browser or no driver.
    fn start() -> Option<Self> {
        let found = |program: &str| {
            let folders = std::env::var_os("PATH")?;
            std::env::split_paths(&folders)
                .map(|folder| folder.join(program))
                .find(|path| path.is_file())
        };
        let (driver, _) = found("chromedriver").zip(found("chromium"))?;
        let (driver, address) = Self::drive(&driver);
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,900"]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let (status, body) = ask(&address, "POST", "/session", "", &wanted.to_string());
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let session = answer["value"]["sessionId"].as_str().expect("a session");
        Some(Self {
            _driver: driver,
            address,
            session: session.to_owned(),
        })
    }

    /// A driver on a free port.
    fn drive(driver: &Path) -> (Ended, String) {
        let mut command = Command::new(driver);
        command
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut driver = Ended(command.spawn().expect("the driver"));
        let stdout = BufReader::new(driver.0.stdout.take().expect("a pipe"));
        let port = stdout.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        (driver, format!("127.0.0.1:{}", port.expect("a port")))
    }

    fn tell(&self, method: &str, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}{what}", self.session);
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let (status, answer) = ask(&self.address, method, &path, "", &body);
        assert_eq!(status, 200, "{what}: {answer}");
        serde_json::from_str::<Value>(&answer).expect("JSON")["value"].take()
    }

    /// What a function's body returns on the page.
    fn eval(&self, script: &str) -> Value {
        self.tell(
            "POST",
            "/execute/sync",
            &json!({"script": script, "args": []}),
        )
    }

    fn press(&self, key: &str) {
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": keys}]});
        self.tell("POST", "/actions", &actions);
    }

    /// Waits until `script` returns true.
    fn wait(&self, script: &str) {
        for _ in 0..600 {
            if self.eval(script) == Value::Bool(true) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = self.eval("return document.getElementById('said').textContent");
        panic!("never true: {script}; the page says {said}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        let quit = || ask(&self.address, "DELETE", &path, "", "");
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(quit)));
    }
}

#[test]
fn a_person_decides_by_keys_in_a_browser() {
    let Some(browser) = Browser::start() else {
        println!("skipped: no chromium and chromedriver here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let page = Page::of(&world);
    browser.tell("POST", "/url", &json!({"url": page.url}));
    browser.wait("return document.activeElement.tagName === 'ARTICLE'");
    // Pictures come, and each says what it shows.
    browser.wait("return document.querySelector('article img').naturalWidth > 0");
    assert_eq!(
        browser.eval("return [...document.images].every((i) => i.alt !== '')"),
        true
    );
    let class = |at: usize, class: &str| {
        format!("return document.querySelectorAll('article')[{at}].classList.contains('{class}')")
    };
    browser.press("x");
    browser.wait(&class(0, "out"));
    browser.press("u");
    browser.wait(&format!(
        "return !({})",
        class(0, "out").trim_start_matches("return ")
    ));
    // The first into the second.
    browser.eval("document.querySelector('article').focus()");
    browser.press("m");
    browser.wait(&class(0, "marked"));
    browser.press("j");
    browser.press("m");
    browser.wait(&class(0, "merged"));
    // A photo of the second.
    browser.press("1");
    browser.wait("return document.querySelectorAll('article')[1].querySelector('.photo').getAttribute('aria-pressed') === 'true'");
    // No keeping: Enter, and the third is next.
    browser.press("\u{e007}");
    browser.wait(&class(1, "kept"));

    let entries = page.entries();
    let second = &entries[1];
    assert_eq!(entries[0]["merged"][0], second["id"]);
    assert_eq!(entries[0]["ruling"], Value::Null);
    assert_eq!(second["ruling"][0], true);
    assert!(second["photos"][0]["struck"].is_u64(), "{second}");
    let text = std::fs::read_to_string(world.join("output/decisions.jsonl"));
    let text = text.expect("the decisions");
    let kinds: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .inspect(|line| assert_eq!(line["who"], "ada"))
        .map(|mut line| line["ruling"].take())
        .collect();
    assert_eq!(
        kinds,
        ["strike_identity", "undo", "merge", "strike_photo", "keep"]
    );
    let log = browser.tell("POST", "/se/log", &json!({"type": "browser"}));
    assert_eq!(log, json!([]), "the page's console");
}
