//! Who may connect at all: how many at a time, and web pages of which origins.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::TurnedAway;
use crate::options::Limits;

/// Counts the connections that are open.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    connections_max: usize,
    per_address_max: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of_address: HashMap<IpAddr, usize>,
}

/// A place for one connection, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    address: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Doors {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            open: Arc::default(),
        }
    }

    /// Takes a place. Those of this machine have no limit of their own: a proxy stands there.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Place, TurnedAway> {
        let address = network(address);
        let mut open = lock(&self.open);
        if open.all >= self.connections_max {
            return Err(TurnedAway::Connections);
        }
        if !address.is_loopback() {
            let count = open.of_address.entry(address).or_default();
            if *count >= self.per_address_max {
                return Err(TurnedAway::ConnectionsPerAddress);
            }
            *count += 1;
        }
        open.all += 1;
        drop(open);
        Ok(Place { address, open: self.open.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(count) = open.of_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.of_address.remove(&self.address);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Nothing that is done under the lock can fail half-way.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one address: of IPv6 the first 64 bits, since who has one has all behind it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    }
}

/// Whether a web page of this origin may connect (RFC 6455, section 10.2): one of the hub itself, one that
/// is listed, and where the hub is on this machine alone one of this machine.
pub(crate) fn may_enter(
    origin: &str,
    host: Option<&str>,
    listed: &[String],
    is_loopback: bool,
) -> bool {
    if listed.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else { return false };
    if host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) {
        return true;
    }
    is_loopback && is_this_machine(authority)
}

/// Whether a host, with or without a port, is this machine by its name.
fn is_this_machine(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(connections_max: usize, connections_per_address_max: usize) -> Doors {
        Doors::new(&Limits { connections_max, connections_per_address_max, ..Limits::default() })
    }

    #[test]
    fn connections_are_limited_in_all_and_by_address_and_leave_their_places() {
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let doors = doors(3, 2);
        let first = doors.enter(a).unwrap();
        let second = doors.enter(a).unwrap();
        assert_eq!(doors.enter(a).unwrap_err(), TurnedAway::ConnectionsPerAddress);
        let third = doors.enter(b).unwrap();
        assert_eq!(doors.enter(b).unwrap_err(), TurnedAway::Connections);
        drop(first);
        let fourth = doors.enter(a).unwrap();
        drop((second, third, fourth));
        assert!(lock(&doors.open).of_address.is_empty());
        assert_eq!(lock(&doors.open).all, 0);
    }

    #[test]
    fn one_network_of_ipv6_is_one_address_and_this_machine_none() {
        let doors = doors(9, 1);
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let _place = doors.enter(of("2001:db8:1:2::1")).unwrap();
        assert_eq!(
            doors.enter(of("2001:db8:1:2:ffff::9")).unwrap_err(),
            TurnedAway::ConnectionsPerAddress
        );
        let _other = doors.enter(of("2001:db8:1:3::1")).unwrap();
        let _mapped = doors.enter(of("::ffff:10.0.0.1")).unwrap();
        assert_eq!(doors.enter(of("10.0.0.1")).unwrap_err(), TurnedAway::ConnectionsPerAddress);
        let here = ["::1", "127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1"];
        let places: Vec<_> = here.map(|text| doors.enter(of(text))).into_iter().collect();
        assert!(places.iter().all(Result::is_ok));
    }

    #[test]
    fn pages_connect_only_from_where_they_may() {
        let listed = ["https://app.example".to_owned(), "https://b.example:8443/".to_owned()];
        let host = Some("hub.example:8787");
        for (origin, is_loopback, may) in [
            ("https://app.example", false, true),
            ("HTTPS://App.Example", false, true),
            ("https://b.example:8443", false, true),
            ("https://b.example", false, false),
            ("http://app.example", false, false),
            ("https://app.example.evil.example", false, false),
            ("http://hub.example:8787", false, true),
            ("http://hub.example", false, false),
            ("null", true, false),
            ("", true, false),
            ("http://localhost:5173", true, true),
            ("http://localhost:5173", false, false),
            ("http://127.0.0.1", true, true),
            ("http://[::1]:80", true, true),
            ("http://localhost.evil.example", true, false),
            ("http://127.0.0.1.evil.example:80", true, false),
            ("http://evil.example:127", true, false),
        ] {
            assert_eq!(
                may_enter(origin, host, &listed, is_loopback),
                may,
                "{origin} {is_loopback}"
            );
        }
        assert!(!may_enter("https://hub.example", None, &[], false));
    }
}
