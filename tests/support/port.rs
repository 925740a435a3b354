//! Ports for servers that must be found where they were, or that cannot say which one they got.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the system gives to outgoing connections: none of these must take a port while
/// its server is down.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port of this machine that nobody listens on, and that no other story of this process gets.
pub(crate) fn free() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Other processes with stories begin elsewhere.
        let n = std::process::id().wrapping_mul(101).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + n % COUNT).unwrap();
        let at = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
}

/// The same, as an address on loopback.
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free()).into()
}
