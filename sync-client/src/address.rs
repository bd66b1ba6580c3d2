//! Addresses of hubs.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use crate::error::AddressError;

/// Where the hub listens when an address has no path.
const PATH: &str = "/sync";

/// The address of a hub: `http://`, `https://`, `ws://` or `wss://`, with or without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress(Uri);

impl HubAddress {
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for HubAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = || text.to_owned();
        let (scheme, rest) = text
            .trim()
            .split_once("://")
            .ok_or_else(|| AddressError::Scheme { address: address() })?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => "ws",
            "https" | "wss" if cfg!(feature = "tls") => "wss",
            "https" | "wss" => return Err(AddressError::NoTls { address: address() }),
            _ => return Err(AddressError::Scheme { address: address() }),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() || path == "/" { PATH } else { path };
        let invalid = || AddressError::Invalid { address: address() };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        let uri = uri.map_err(|_| invalid())?;
        let host = uri.host().unwrap_or_default();
        let has_port = authority.len() > host.len();
        if host.is_empty() || authority.contains('@') || (has_port && uri.port_u16().is_none()) {
            return Err(invalid());
        }
        Ok(Self(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_leads_to_the_socket() {
        for (text, uri) in [
            ("http://127.0.0.1:8787", "ws://127.0.0.1:8787/sync"),
            ("http://localhost:8787/", "ws://localhost:8787/sync"),
            ("ws://hub.example/sync", "ws://hub.example/sync"),
            ("WS://[::1]:80/other/path", "ws://[::1]:80/other/path"),
        ] {
            assert_eq!(text.parse::<HubAddress>().unwrap().to_string(), uri, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["127.0.0.1:8787", "ftp://x", "http://", "http://a b", "ws://x:99999999", ""] {
            assert!(text.parse::<HubAddress>().is_err(), "{text}");
        }
        assert!("http://name:word@host".parse::<HubAddress>().is_err());
    }
}
