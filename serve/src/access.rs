//! Who may ask for what.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, header};

use crate::fault::Fault;

/// What is read without a key: whether the server is up, its description, and the page, which asks for a key.
const OPEN: [&str; 3] = ["/", "/health", "/openapi.json"];

/// Who may ask for what.
#[derive(Clone, Default)]
pub struct Access {
    /// Keys, one of which a request must have; without any, everybody may ask.
    pub keys: Vec<String>,
    /// Whether documents may be added, replaced and deleted.
    pub writable: bool,
    /// What requests may call the server.
    pub hosts: Hosts,
}

/// What requests may call the server, in their header `Host`. Pages of other sites can make their names mean this
/// machine (DNS rebinding); where no key is asked for, such names are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// Any name: keys keep others out.
    #[default]
    Any,
    /// An address of any network, or a local name: no page can make an address mean another machine.
    Addresses,
    /// Local names and addresses.
    Local,
}

impl Access {
    /// Whether a request with these headers may ask for this route; `None` is no route.
    pub(crate) fn check(
        &self,
        method: &Method,
        route: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Fault> {
        self.hosts.check(headers)?;
        let is_read = method == Method::GET || method == Method::HEAD;
        if self.keys.is_empty() || is_read && route.is_some_and(|route| OPEN.contains(&route)) {
            return Ok(());
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(sent) = sent.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(Fault::unauthorized("an API key is needed: send it as `Authorization: Bearer KEY`"));
        };
        match self.keys.iter().fold(false, |found, key| found | is_same(key, sent.trim())) {
            true => Ok(()),
            false => Err(Fault::unauthorized("the API key is not one of this server's")),
        }
    }
}

/// Whether two keys are the same, in a time that does not tell how much of them is.
fn is_same(key: &str, sent: &str) -> bool {
    let differences = key.bytes().zip(sent.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0 && key.len() == sent.len()
}

/// Refuses pages of other sites: a page is of this machine, or of the host that it asks.
pub fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let of_page = origin.split_once("://").map(|(_, authority)| authority);
    if of_page.is_some_and(|of_page| is_local(of_page) || of_page.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Fault::forbidden(format!(
        "pages of other sites are not answered, and Origin is {origin:?}: ask from a program, or from a page of {host:?}"
    )))
}

/// The name in this authority, NAME or NAME:PORT, and the address that it is, if it is one.
fn name_of(authority: &str) -> (&str, Option<IpAddr>) {
    let name = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    (name, name.parse().ok())
}

/// Whether this authority is the machine's own by any name.
fn is_local(authority: &str) -> bool {
    let (name, address) = name_of(authority);
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

impl Hosts {
    fn check(self, headers: &HeaderMap) -> Result<(), Fault> {
        let Some(host) = headers.get(header::HOST) else { return Ok(()) };
        let host = host.to_str().unwrap_or_default();
        let names = match self {
            Hosts::Any => return Ok(()),
            _ if is_local(host) => return Ok(()),
            Hosts::Addresses if name_of(host).1.is_some() => return Ok(()),
            Hosts::Addresses => "addresses, such as 10.0.0.1, and to localhost",
            Hosts::Local => "localhost",
        };
        Err(Fault::forbidden(format!(
            "this server without API keys answers to {names}, and Host is {host:?}: start it with API keys to serve other names"
        )))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn keys_are_asked_for_but_where_all_may_ask() {
        let access = Access { keys: vec!["one".to_owned(), "two".to_owned()], ..Access::default() };
        for good in ["Bearer one", "Bearer two", "Bearer  two "] {
            assert_eq!(
                access.check(&Method::GET, Some("/search"), &headers("authorization", good)),
                Ok(()),
                "{good}"
            );
        }
        for bad in ["Bearer onetwo", "Bearer on", "Bearer ", "one", "Basic one"] {
            assert!(
                access.check(&Method::GET, Some("/search"), &headers("authorization", bad)).is_err(),
                "{bad}"
            );
        }
        assert!(access.check(&Method::GET, None, &HeaderMap::new()).is_err());
        assert!(access.check(&Method::GET, Some("/metrics"), &HeaderMap::new()).is_err());
        assert_eq!(access.check(&Method::GET, Some("/health"), &HeaderMap::new()), Ok(()));
        assert_eq!(access.check(&Method::HEAD, Some("/"), &HeaderMap::new()), Ok(()));
        assert!(access.check(&Method::POST, Some("/"), &HeaderMap::new()).is_err());
        assert_eq!(Access::default().check(&Method::GET, Some("/search"), &HeaderMap::new()), Ok(()));
    }

    #[test]
    fn other_sites_names_are_refused() {
        let is_refused = |hosts: Hosts, host: &str| {
            let access = Access { hosts, ..Access::default() };
            access.check(&Method::GET, None, &headers("host", host)).is_err()
        };
        for local in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.3.2.1", "[::1]:8080"] {
            assert!(!is_refused(Hosts::Local, local) && !is_refused(Hosts::Addresses, local), "{local}");
        }
        for address in ["10.0.0.1:8080", "10.0.0.1", "[fe80::1]:8080"] {
            assert!(is_refused(Hosts::Local, address) && !is_refused(Hosts::Addresses, address), "{address}");
        }
        for name in ["evil.example", "localhost.evil.example:80", "10.0.0.1.evil.example", ""] {
            assert!(is_refused(Hosts::Local, name) && is_refused(Hosts::Addresses, name), "{name}");
            assert!(!is_refused(Hosts::Any, name), "{name}");
        }
    }

    #[test]
    fn other_sites_pages_are_refused() {
        let of = |origin: &str| {
            let mut headers = headers("origin", origin);
            headers.insert("host", HeaderValue::from_static("notes.example:8080"));
            check_origin(&headers)
        };
        assert_eq!(check_origin(&HeaderMap::new()), Ok(()));
        for good in
            ["http://localhost:6274", "http://127.0.0.1", "https://[::1]:3000", "http://Notes.example:8080"]
        {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bad in [
            "https://evil.example",
            "http://notes.example",
            "http://localhost.evil.example",
            "null",
            "",
            "localhost",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
