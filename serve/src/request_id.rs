//! A name for each request, in its answer and in the log.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderValue};

/// The header that has it.
pub const HEADER: &str = "x-request-id";

/// The longest id that a client may choose.
const MAX_LENGTH: usize = 128;

/// The name of the request that is answered.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// The client's, if it has sent one of visible ASCII characters, or a new one.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let is_good = |id: &&str| {
            (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        RequestId(sent.filter(is_good).map_or_else(new, str::to_owned))
    }

    /// As a header.
    pub fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

/// 16 random bytes in hexadecimal: the standard library's hashers have random keys.
fn new() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let half = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(count);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_clients_or_new() {
        let of = |sent: Option<&[u8]>| {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(HEADER, HeaderValue::from_bytes(sent).unwrap());
            }
            RequestId::of(&headers).0
        };
        assert_eq!(of(Some(b"abc-1")), "abc-1");
        for bad in [None, Some(&b""[..]), Some(b"a b"), Some(b"\xff"), Some(&[b'x'; 129])] {
            let id = of(bad);
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert_ne!(id, of(bad));
        }
    }
}
