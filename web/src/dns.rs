//! Asks the system's name servers: each question has a socket of its own, so that those that are never answered hold up
//! no others.
//!
//! hickory-resolver's own pool is not used: all its questions to a server share one connection, and one that times out
//! marks it as failed for the others. Its configuration, hosts file and messages are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use hickory_resolver::Hosts;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::patience::Patience;

/// A resolver that leaves the work to its name servers.
pub(crate) struct Dns {
    servers: Vec<SocketAddr>,
    hosts: Hosts,
    known: Mutex<HashMap<String, Known>>,
    turns: Semaphore,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAddress {
    #[error("{0}")]
    Never(String),
    #[error("{0}")]
    Now(String),
}

struct Known {
    until: Instant,
    found: Result<Vec<IpAddr>, NoAddress>,
}

/// What a name server said to one question.
struct Said {
    addresses: Vec<IpAddr>,
    for_so_long: Duration,
}

/// Answers are remembered as long as they say, within these bounds.
const REMEMBERED: [Duration; 2] = [Duration::from_mins(1), Duration::from_hours(1)];
/// That there is no address is forgotten sooner.
const REMEMBERED_ABSENCE: Duration = Duration::from_mins(1);
/// Names remembered at most.
const NAMES: usize = 50_000;
/// How long one server has for one answer.
const WAIT: Duration = Duration::from_millis(1500);
/// How often a question is asked.
const TRIES: usize = 3;
/// How long the other family's answer is waited for when one is there: some servers never give it.
const AFTER_THE_FIRST: Duration = Duration::from_secs(1);
/// Lookups under way at once: each holds two sockets.
const LOOKUPS: usize = 300;
/// Addresses of a name at most.
const ADDRESSES: usize = 256;
/// Bytes of an answer over UDP at most.
const DATAGRAM: usize = 4096;

impl Dns {
    /// The system's name servers and hosts file.
    ///
    /// # Errors
    /// The configuration cannot be read, or names no server.
    pub(crate) fn of_system() -> Result<Self, NetError> {
        let (config, _) = read_system_conf()?;
        let servers = config.name_servers().iter();
        let servers = servers.map(|server| {
            let port = server.connections.first().map_or(53, |c| c.port);
            SocketAddr::new(server.ip, port)
        });
        Ok(Self::new(
            servers.collect(),
            Hosts::from_system().unwrap_or_default(),
        ))
    }

    pub(crate) fn new(servers: Vec<SocketAddr>, hosts: Hosts) -> Self {
        Self {
            servers,
            hosts,
            known: Mutex::default(),
            turns: Semaphore::new(LOOKUPS),
        }
    }

    /// The addresses of a name, at least one, IPv4 first. Waiting for a turn is not counted.
    ///
    /// # Errors
    /// There is none, or no server says so in time; `timeout`.
    pub(crate) async fn look_up(
        &self,
        name: &str,
        patience: &mut Patience,
    ) -> Result<Result<Vec<IpAddr>, NoAddress>, Failure> {
        let key = name.trim_end_matches('.');
        if let Some(found) = self.remembered(key) {
            return Ok(found);
        }
        let labels = key.split('.').map(str::as_bytes);
        let mut question = match Name::from_labels(labels) {
            Ok(question) => question,
            Err(error) => return Ok(Err(NoAddress::Never(error.to_string()))),
        };
        question.set_fqdn(true);
        let listed = self.listed(&question);
        if !listed.is_empty() {
            return Ok(Ok(listed));
        }
        let _turn = patience.pause(self.turns.acquire()).await;
        let asked = Box::pin(self.both(&question));
        let (found, for_so_long) = patience.bound("looking up the host", asked).await?;
        self.remember(key, &found, for_so_long);
        Ok(found)
    }

    /// What the hosts file says.
    fn listed(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| {
                let query = Query::query(name.clone(), kind);
                self.hosts.lookup_static_host(&query)
            })
            .flat_map(|lookup| {
                let records = lookup.answers().iter();
                records.filter_map(|r| r.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Asks for both families at once.
    async fn both(&self, name: &Name) -> (Result<Vec<IpAddr>, NoAddress>, Duration) {
        let four = pin!(self.ask(name, RecordType::A));
        let six = pin!(self.ask(name, RecordType::AAAA));
        let answers = match select(four, six).await {
            Either::Left((Ok(first), rest)) if !first.addresses.is_empty() => {
                let other = timeout(AFTER_THE_FIRST, rest).await.ok();
                [Some(Ok(first)), other]
            }
            Either::Left((first, rest)) => [Some(first), Some(rest.await)],
            Either::Right((first, rest)) => [Some(rest.await), Some(first)],
        };
        let (mut addresses, mut for_so_long) = (Vec::new(), REMEMBERED[1]);
        let mut none = NoAddress::Never("no such name, or no address".to_owned());
        for answer in answers.into_iter().flatten() {
            match answer {
                Ok(said) => {
                    addresses.extend(said.addresses);
                    for_so_long = for_so_long.min(said.for_so_long);
                }
                Err(why) => none = NoAddress::Now(why),
            }
        }
        match addresses.len() {
            0 => (Err(none), REMEMBERED_ABSENCE),
            1..=ADDRESSES => (Ok(addresses), for_so_long.max(REMEMBERED[0])),
            _ => {
                let many = NoAddress::Never("too many addresses".to_owned());
                (Err(many), REMEMBERED_ABSENCE)
            }
        }
    }

    /// Asks one server after the other until one says something.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Said, String> {
        let mut why = "no name server".to_owned();
        for server in self.servers.iter().cycle().take(TRIES) {
            match timeout(WAIT, ask_server(*server, name, kind)).await {
                Ok(Ok(said)) => return Ok(said),
                Ok(Err(error)) => why = error,
                Err(_) => "the name servers do not answer".clone_into(&mut why),
            }
        }
        Err(why)
    }

    fn remembered(&self, name: &str) -> Option<Result<Vec<IpAddr>, NoAddress>> {
        let known = self.lock();
        let found = known.get(name).filter(|k| k.until > Instant::now())?;
        Some(found.found.clone())
    }

    fn remember(&self, name: &str, found: &Result<Vec<IpAddr>, NoAddress>, for_so_long: Duration) {
        if matches!(found, Err(NoAddress::Now(_))) {
            return;
        }
        let (now, mut known) = (Instant::now(), self.lock());
        if known.len() >= NAMES {
            known.retain(|_, k| k.until > now);
        }
        if known.len() >= NAMES {
            known.clear();
        }
        let until = now + for_so_long;
        let found = found.clone();
        known.insert(name.to_owned(), Known { until, found });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask_server(server: SocketAddr, name: &Name, kind: RecordType) -> Result<Said, String> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(|e| e.to_string())?;
    let answer = over_udp(server, &bytes, &question).await?;
    let answer = if answer.metadata.truncation {
        over_tcp(server, &bytes, &question).await?
    } else {
        answer
    };
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(said(&answer, kind)),
        code => Err(format!("the name server says {code}")),
    }
}

fn said(answer: &Message, kind: RecordType) -> Said {
    let records = answer.answers.iter();
    let ttl = records.clone().map(|r| r.ttl).min();
    let mut addresses: Vec<_> = records.clone().filter_map(|r| r.data.ip_addr()).collect();
    if records.clone().any(leads_to_localhost) {
        addresses.push(match kind {
            RecordType::AAAA => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        });
    }
    Said {
        addresses,
        for_so_long: ttl.map_or(REMEMBERED_ABSENCE, |ttl| Duration::from_secs(ttl.into())),
    }
}

/// Whether the record is an alias to `localhost`, which has this machine's addresses whatever name servers say of it
/// (RFC 6761).
fn leads_to_localhost(record: &Record) -> bool {
    match &record.data {
        RData::CNAME(CNAME(name)) => is_localhost(&name.to_ascii()),
        _ => false,
    }
}

/// `localhost` and what is under it mean this machine (RFC 6761).
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

async fn over_udp(server: SocketAddr, bytes: &[u8], question: &Message) -> Result<Message, String> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let failed = |error: std::io::Error| format!("name server: {error}");
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(bytes).await.map_err(failed)?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        // What answers another question is not from our server.
        if let Some(answer) = answer_to(question, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, bytes: &[u8], question: &Message) -> Result<Message, String> {
    let failed = |error: std::io::Error| format!("name server: {error}");
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes(), bytes].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    answer_to(question, &buffer).ok_or_else(|| "no answer from the name server".to_owned())
}

fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let same = answer.metadata.id == question.metadata.id && answer.queries == question.queries;
    same.then_some(answer)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as BlockingSocket;

    use hickory_resolver::proto::op::{MessageType, OpCode};
    use hickory_resolver::proto::rr::rdata::{A, AAAA};

    use super::*;

    /// A name server: `both.*` has addresses of both families, `four.*` one and silence for the other, `alias.*` is
    /// `localhost`, `broken.*` SERVFAIL, `silent.*` nothing, all others do not exist.
    fn serve() -> SocketAddr {
        let socket = BlockingSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::from_vec(&buffer[..length]) else {
                    continue;
                };
                if let Some(bytes) = reply(&question).and_then(|m| m.to_vec().ok()) {
                    // One that answers another question comes first.
                    let mut wrong = bytes.clone();
                    wrong[0] ^= 1;
                    let _ = socket.send_to(&wrong, from);
                    let _ = socket.send_to(&bytes, from);
                }
            }
        });
        address
    }

    fn reply(question: &Message) -> Option<Message> {
        let query = question.queries.first()?.clone();
        let id = question.metadata.id;
        let mut answer = Message::new(id, MessageType::Response, OpCode::Query);
        let (name, six) = (query.name().clone(), query.query_type() == RecordType::AAAA);
        answer.add_query(query);
        let first = name.iter().next().unwrap_or_default();
        let record = |data| Record::from_rdata(name.clone(), 300, data);
        let four = record(RData::A(A(Ipv4Addr::new(192, 0, 2, 1))));
        let also = record(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
        match first {
            b"both" | b"-both" => answer.answers.push(if six { also } else { four }),
            b"four" if six => return None,
            b"four" => answer.answers.push(four),
            b"alias" => {
                let localhost = Name::from_ascii("LocalHost.").ok()?;
                answer.answers.push(record(RData::CNAME(CNAME(localhost))));
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            b"broken" => answer.metadata.response_code = ResponseCode::ServFail,
            b"silent" => return None,
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        Some(answer)
    }

    async fn look_up(dns: &Dns, name: &str) -> Result<usize, NoAddress> {
        let mut patience = Patience::new(Duration::from_secs(30));
        let found = dns.look_up(name, &mut patience).await.expect("in time");
        found.map(|addresses| addresses.len())
    }

    #[tokio::test]
    async fn names_are_asked_for_as_the_web_has_them() {
        let dns = Dns::new(vec![serve()], Hosts::default());
        assert_eq!(look_up(&dns, "both.example").await, Ok(2));
        assert_eq!(look_up(&dns, "both.my_bucket.example.").await, Ok(2));
        assert_eq!(look_up(&dns, "-both.example").await, Ok(2));
        assert_eq!(look_up(&dns, "four.example").await, Ok(1));
        let never = |found| matches!(found, Err(NoAddress::Never(_)));
        assert!(never(look_up(&dns, "missing.example").await));
        assert!(never(look_up(&dns, "a..example").await));
        assert!(never(
            look_up(&dns, &format!("{}.example", "a".repeat(64))).await
        ));
        let broken = look_up(&dns, "broken.example").await;
        assert!(matches!(broken, Err(NoAddress::Now(_))), "{broken:?}");
        let silent = look_up(&dns, "silent.example").await;
        assert!(matches!(silent, Err(NoAddress::Now(_))), "{silent:?}");
        let known: Vec<_> = dns.lock().keys().cloned().collect();
        assert_eq!(known.len(), 5, "{known:?}");
    }

    #[tokio::test]
    async fn questions_that_are_never_answered_hold_up_no_others() {
        let dns = Dns::new(vec![serve()], Hosts::default());
        let silent = (0..100).map(|k| format!("silent.{k}.example"));
        let good = (0..100).map(|k| format!("both.{k}.example"));
        let names: Vec<_> = silent.chain(good).collect();
        let found = futures::future::join_all(names.iter().map(|name| look_up(&dns, name))).await;
        assert!(found[..100].iter().all(Result::is_err));
        assert!(found[100..].iter().all(Result::is_ok), "{found:?}");
    }

    #[tokio::test]
    async fn an_alias_of_localhost_has_its_addresses() {
        let dns = Dns::new(vec![serve()], Hosts::default());
        let mut patience = Patience::new(Duration::from_secs(30));
        let found = dns.look_up("alias.example", &mut patience).await;
        let expected: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(found, Ok(Ok(expected.to_vec())));
    }

    /// A name server whose datagrams say that the answer is longer, and that gives it over TCP, `addresses` of them.
    fn serve_over_tcp(addresses: u16) -> SocketAddr {
        let udp = BlockingSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("bound");
        let tcp = std::net::TcpListener::bind(address).expect("the same port");
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                let question = Message::from_vec(&buffer[..length]).ok();
                if let Some(mut answer) = question.as_ref().and_then(reply) {
                    answer.metadata.truncation = true;
                    let _ = udp.send_to(&answer.to_vec().unwrap_or_default(), from);
                }
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let _ = answer_over_tcp(&mut stream, addresses);
            }
        });
        address
    }

    fn answer_over_tcp(stream: &mut std::net::TcpStream, addresses: u16) -> std::io::Result<()> {
        use std::io::{Read, Write};
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut bytes)?;
        let question = Message::from_vec(&bytes).map_err(std::io::Error::other)?;
        let mut answer = reply(&question).ok_or(std::io::ErrorKind::InvalidData)?;
        if let Some(first) = answer.answers.first().cloned() {
            answer.answers = vec![first; addresses.into()];
        }
        let bytes = answer.to_vec().map_err(std::io::Error::other)?;
        // In two pieces, the length cut in the middle.
        let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        stream.write_all(&framed[..1])?;
        stream.write_all(&framed[1..])
    }

    #[tokio::test]
    async fn answers_too_long_for_a_datagram_come_over_tcp() {
        let dns = Dns::new(vec![serve_over_tcp(100)], Hosts::default());
        assert_eq!(look_up(&dns, "both.example").await, Ok(200));
        let dns = Dns::new(vec![serve_over_tcp(129)], Hosts::default());
        let many = look_up(&dns, "both.example").await;
        assert!(matches!(many, Err(NoAddress::Never(_))), "{many:?}");
    }

    #[tokio::test]
    async fn the_hosts_file_comes_first() {
        let mut hosts = Hosts::default();
        let file = &b"192.0.2.7 listed.example\n::1 listed.example\n"[..];
        hosts.read_hosts_conf(file).expect("a hosts file");
        let dns = Dns::new(Vec::new(), hosts);
        assert_eq!(look_up(&dns, "LISTED.example").await, Ok(2));
        assert!(look_up(&dns, "other.example").await.is_err());
    }
}
