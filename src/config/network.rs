//! Networks as `192.0.2.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network of addresses, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` is in it. An IPv4 peer of a dual-stack listener (`::ffff:192.0.2.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && masked(address, self.prefix) == bits(self.base)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found {text:?}; allowed: an address or a network, as \"192.0.2.7\", \"192.0.2.0/24\", \"2001:db8::/32\""
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            // `u8::from_str` would take "+8".
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
        };
        if prefix > longest {
            return Err(format!("found {text:?}; allowed: a prefix of at most {longest} bits"));
        }
        if masked(base, prefix) != bits(base) {
            // 192.0.2.7/24 may be meant as the network or as the one machine; the two differ in who may send faxes.
            let network = Network { base: unmasked(base, prefix), prefix };
            return Err(format!("found {text:?}, which is no network; allowed: {network} or {base}"));
        }
        Ok(Network { base, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The address as a number, IPv4 in the upper 32 of 128 bits, so that a prefix means the same in both families.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The bits of the network that `address` is in.
fn masked(address: IpAddr, prefix: u8) -> u128 {
    bits(address) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// The first address of the network that `address` is in.
fn unmasked(address: IpAddr, prefix: u8) -> IpAddr {
    let bits = masked(address, prefix);
    match address {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits >> 96).unwrap_or_default().into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_and_what_is_not() {
        for (network, address, inside) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::1", "::1", true),
            ("127.0.0.0/8", "127.1.2.3", true),
        ] {
            let parsed: Network = network.parse().unwrap_or_else(|e| panic!("{network}: {e}"));
            assert_eq!(parsed.contains(address.parse().unwrap()), inside, "{address} in {network}");
        }
        for (text, says) in [
            ("192.0.2.7/24", "192.0.2.0/24 or 192.0.2.7"),
            ("192.0.2.0/33", "at most 32"),
            ("::/129", "at most 128"),
            ("192.0.2.0/999", "allowed: an address"),
            ("192.0.2.0/+8", "allowed: an address"),
            ("192.0.2.0/", "allowed: an address"),
            ("192.0.2", "allowed: an address"),
            ("example.com", "allowed: an address"),
            ("", "allowed: an address"),
        ] {
            let sentence = text.parse::<Network>().unwrap_err();
            assert!(sentence.contains(says), "{text}: {sentence}");
        }
    }
}
