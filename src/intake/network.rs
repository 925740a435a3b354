//! Networks as in `192.0.2.0/24`, `2001:db8::/32` or a single address.

use std::net::IpAddr;
use std::str::FromStr;

/// An address with a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether `peer` is in it. An IPv4 peer that arrives as an IPv4-mapped IPv6 address counts as what it is.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => {
                let drop = 32 - self.prefix;
                u64::from(net.to_bits()) >> drop == u64::from(peer.to_bits()) >> drop
            }
            (IpAddr::V6(net), IpAddr::V6(peer)) => {
                let drop = 128 - self.prefix;
                drop == 128 || net.to_bits() >> drop == peer.to_bits() >> drop
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault =
            || format!("{text:?} is no network; write it as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim().parse().map_err(|_| fault())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |p| p.trim().parse().map_err(|_| fault()))?;
        if prefix > longest { Err(fault()) } else { Ok(Network { address, prefix }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_should() {
        let table = [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::1", "::1", true),
            ("2001:db8::/32", "2001:db8:1::9", true),
            ("2001:db8::/32", "2001:db9::9", false),
            ("::/0", "2001:db9::9", true),
            ("::/0", "192.0.2.1", false),
        ];
        for (network, peer, want) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(peer.parse().unwrap()), want, "{network:?} {peer}");
        }
        for bad in ["", "x", "192.0.2.0/33", "::/129", "192.0.2.0/-1", "192.0.2"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
