//! From a url and the environment to a client.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

/// The kinds of urls, and the environment variables that speak of them.
const KINDS: [(&str, Kind); 6] = [
    ("s3://", Kind::S3),
    ("s3a://", Kind::S3),
    ("gs://", Kind::Google),
    ("az://", Kind::Azure),
    ("abfs://", Kind::Azure),
    ("abfss://", Kind::Azure),
];

/// Longest time without a byte of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time of a request. What is left of a long answer is asked for again.
const REQUEST: Duration = Duration::from_mins(5);
/// Longest time until a connection is there.
const CONNECT: Duration = Duration::from_secs(10);
/// After this time nothing is sent again.
const RETRYING: Duration = Duration::from_mins(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    S3,
    Google,
    Azure,
}

/// How often what fails is sent again, with longer and longer pauses: what the store is too busy for, what gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A second or two: whoever asks wants to know whether the store is there at all.
    Short,
    /// Half a minute.
    Usual,
}

impl Patience {
    fn retries(self) -> usize {
        match self {
            Self::Short => 4,
            Self::Usual => 10,
        }
    }
}

/// Whether `place` is a url, of whatever kind, and no folder.
pub fn is_url(place: &str) -> bool {
    let scheme = place.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        let mut letters = scheme.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
        first && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// A thread that keeps connections alive between two requests.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("bucket");
    builder.enable_all().build()
}

/// The objects below `url`.
///
/// # Errors
/// What is wrong with the url or the environment, in words.
pub(super) fn objects(url: &str, patience: Patience) -> Result<Objects, String> {
    let kind = KINDS.iter().find(|(scheme, _)| url.starts_with(scheme));
    let Some((scheme, kind)) = kind else {
        return Err("not a url of a bucket: s3://…, gs://…, az://… are known".to_owned());
    };
    let (bucket, prefix) = url[scheme.len()..]
        .split_once('/')
        .unwrap_or((&url[scheme.len()..], ""));
    if bucket.is_empty() {
        return Err("it names no bucket".to_owned());
    }
    // Of several processes' libraries none has chosen, or this very one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let prefix = ObjectPath::parse(prefix.trim_matches('/')).map_err(|e| e.to_string())?;
    let bucket_url = format!("{scheme}{bucket}");
    let objects = match kind {
        Kind::S3 => s3(&bucket_url, patience).map(|store| below(store, prefix)),
        Kind::Google => google(&bucket_url, patience).map(|store| below(store, prefix)),
        Kind::Azure => azure(&bucket_url, patience).map(|store| below(store, prefix)),
    };
    // What a builder complains of may be the value of a secret.
    objects.map_err(|error| super::reason::of(&error))
}

/// One store, and as one whose uploads in pieces have names.
type Objects = (Arc<dyn ObjectStore>, Arc<dyn MultipartStore>);

/// What of `store` lies below `prefix`.
fn below<T: ObjectStore + MultipartStore>(store: T, prefix: ObjectPath) -> Objects {
    if prefix.as_ref().is_empty() {
        let store = Arc::new(store);
        return (store.clone(), store);
    }
    let store = Arc::new(PrefixStore::new(store, prefix));
    (store.clone(), store)
}

fn options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(REQUEST)
        .with_read_timeout(SILENCE)
        .with_connect_timeout(CONNECT)
}

fn retry(patience: Patience) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: patience.retries(),
        retry_timeout: RETRYING,
    }
}

/// The variables whose names begin with `prefix`, as settings of a builder. Others begin with it too.
fn settings<K: FromStr>(prefix: &str) -> Vec<(K, String)> {
    let setting = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name
            .into_string()
            .ok()
            .filter(|name| name.starts_with(prefix))?;
        Some((
            name.to_ascii_lowercase().parse().ok()?,
            value.into_string().ok()?,
        ))
    };
    std::env::vars_os().filter_map(setting).collect()
}

fn s3(url: &str, patience: Patience) -> object_store::Result<AmazonS3> {
    let builder = AmazonS3Builder::new()
        .with_client_options(options())
        .with_retry(retry(patience));
    let builder = settings("AWS_")
        .into_iter()
        .fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        });
    builder.with_url(url).build()
}

fn google(url: &str, patience: Patience) -> object_store::Result<GoogleCloudStorage> {
    let builder = GoogleCloudStorageBuilder::new()
        .with_client_options(options())
        .with_retry(retry(patience));
    let builder = settings("GOOGLE_")
        .into_iter()
        .fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        });
    builder.with_url(url).build()
}

fn azure(url: &str, patience: Patience) -> object_store::Result<MicrosoftAzure> {
    let builder = MicrosoftAzureBuilder::new()
        .with_client_options(options())
        .with_retry(retry(patience));
    let builder = settings("AZURE_")
        .into_iter()
        .fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        });
    builder.with_url(url).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_no_urls() {
        for url in ["s3://b/x", "gs://b", "ftp://x", "abfss://c@a.host/p"] {
            assert!(is_url(url), "{url}");
        }
        for folder in [
            "out",
            "/data/run",
            "a:/b",
            "://",
            "1s://x",
            "s 3://x",
            "C:\\x",
        ] {
            assert!(!is_url(folder), "{folder}");
        }
    }

    #[test]
    fn what_is_no_bucket_is_refused_with_the_kinds_that_are() {
        let reason = |url| objects(url, Patience::Short).err().unwrap_or_default();
        assert!(reason("ftp://host/x").contains("s3://"));
        assert!(reason("s3:///x").contains("no bucket"));
        assert!(objects("s3://bucket/a//b", Patience::Short).is_err());
        assert!(objects("s3://bucket/runs/1/", Patience::Short).is_ok());
    }
}
