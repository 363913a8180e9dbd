//! Signatures of requests, as Amazon's documentation of Signature Version 4 describes them.

use sha2::{Digest, Sha256};

use super::http::Request;
use super::{ACCESS_KEY, SECRET_KEY};

/// Whether a request is signed with the right keys, and its body the one that was signed.
///
/// # Errors
/// What S3 calls it.
pub(super) fn check(request: &Request) -> Result<(), &'static str> {
    let authorization = request.header("authorization").ok_or("AccessDenied")?;
    let field = |name: &str| {
        let found = authorization
            .split([' ', ','])
            .find_map(|part| part.strip_prefix(name));
        found.unwrap_or_default()
    };
    let scope = field("Credential=");
    let (key, scope) = scope.split_once('/').unwrap_or((scope, ""));
    if key != ACCESS_KEY {
        return Err("InvalidAccessKeyId");
    }
    let hash = request.header("x-amz-content-sha256").unwrap_or_default();
    if hash != "UNSIGNED-PAYLOAD" && hash != hex(&Sha256::digest(&request.body)) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let canonical = canonical(request, field("SignedHeaders="), hash);
    let date = request.header("x-amz-date").unwrap_or_default();
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let first = format!("AWS4{SECRET_KEY}").into_bytes();
    let signing = scope
        .split('/')
        .fold(first, |key, part| hmac(&key, part.as_bytes()));
    match hex(&hmac(&signing, text.as_bytes())) == field("Signature=") {
        true => Ok(()),
        false => Err("SignatureDoesNotMatch"),
    }
}

fn canonical(request: &Request, signed: &str, hash: &str) -> String {
    let query: Vec<String> = (request.query.iter())
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let header = |name: &str| format!("{name}:{}\n", request.header(name).unwrap_or_default());
    let headers: String = signed.split(';').map(header).collect();
    let (method, path) = (&request.method, &request.path);
    format!(
        "{method}\n{path}\n{}\n{headers}\n{signed}\n{hash}",
        query.join("&")
    )
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text);
    let outer = Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner.finalize());
    outer.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The example of RFC 4231, section 4.3.
#[test]
fn hmac_is_that_of_the_rfc() {
    let found = hex(&hmac(b"Jefe", b"what do ya want for nothing?"));
    assert_eq!(
        found,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}
