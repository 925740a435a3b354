//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): whom a load balancer speaks for.
//!
//! The header is read before anything else, TLS too, and not one byte further. Only named networks may send it, and these must:
//! otherwise anybody could choose the address that he is known by.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, CR LF included (section 2.1).
const MAX_TEXT: usize = 107;
/// Longest rest of a header of version 2 that we read. Addresses have 36 bytes; what follows are notes of the balancer.
const MAX_BINARY: usize = 4096;

/// Why a connection from a load balancer is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// It ended or broke.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// What came first is none.
    #[error("it does not begin with a PROXY header")]
    None,
    /// It began like one.
    #[error("its PROXY header is malformed")]
    Malformed,
}

/// Reads the header; the address of the client, or None where the balancer speaks for itself (its health checks).
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, ProxyError> {
    // The shortest header of version 1, "PROXY UNKNOWN" and its CR LF, is longer than that.
    let mut head = [0; SIGNATURE.len()];
    stream.read_exact(&mut head).await?;
    if head == SIGNATURE {
        return binary(stream).await;
    }
    if !head.starts_with(b"PROXY ") {
        return Err(ProxyError::None);
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() >= MAX_TEXT {
            return Err(ProxyError::Malformed);
        }
        // Byte by byte: what stands behind the line is not ours.
        line.push(stream.read_u8().await?);
    }
    text(&line).ok_or(ProxyError::Malformed)
}

fn text(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (Some(_), Some(_), None) = (port(words.next()?), port(words.next()?), words.next()) else {
        return None;
    };
    match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            Some(Some(source.parse::<Ipv4Addr>().ok()?.into()))
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            Some(Some(IpAddr::from(source.parse::<Ipv6Addr>().ok()?).to_canonical()))
        }
        _ => None,
    }
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

async fn binary<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, ProxyError> {
    let (version, family, length) =
        (stream.read_u8().await?, stream.read_u8().await?, stream.read_u16().await?);
    if version >> 4 != 2 || usize::from(length) > MAX_BINARY {
        return Err(ProxyError::Malformed);
    }
    let mut rest = vec![0; length.into()];
    stream.read_exact(&mut rest).await?;
    match (version & 0xf, family >> 4) {
        // LOCAL: whatever the rest says is to be ignored.
        (0, _) => Ok(None),
        (1, 1) => {
            let source = rest.first_chunk::<4>().filter(|_| rest.len() >= 12);
            source.map(|source| Some(Ipv4Addr::from(*source).into())).ok_or(ProxyError::Malformed)
        }
        (1, 2) => {
            let source = rest.first_chunk::<16>().filter(|_| rest.len() >= 36);
            let address = |source: &[u8; 16]| IpAddr::from(Ipv6Addr::from(*source)).to_canonical();
            source.map(|source| Some(address(source))).ok_or(ProxyError::Malformed)
        }
        // Unspecified, or a socket without addresses: as for version 1's UNKNOWN.
        (1, 0 | 3) => Ok(None),
        _ => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address or "none" or the error, and what was left to read.
    async fn outcome(mut bytes: &[u8]) -> (String, &[u8]) {
        let read = read(&mut bytes).await;
        let text = match read {
            Ok(Some(address)) => address.to_string(),
            Ok(None) => "none".into(),
            Err(ProxyError::Broken(_)) => "broken".into(),
            Err(ProxyError::None) => "no header".into(),
            Err(ProxyError::Malformed) => "malformed".into(),
        };
        (text, bytes)
    }

    #[tokio::test]
    async fn headers_as_text() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for (header, expected) in [
            ("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\n", "192.0.2.7"),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 25\r\n", "2001:db8::7"),
            ("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 56324 25\r\n", "192.0.2.7"),
            ("PROXY UNKNOWN\r\n", "none"),
            ("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", "none"),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25 x\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 +1 25\r\n", "malformed"),
            ("PROXY TCP4 2001:db8::7 192.0.2.1 1 25\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 25\n", "malformed"),
            ("PROXY UDP4 192.0.2.7 192.0.2.1 1 25\r\n", "malformed"),
            (&long, "malformed"),
            ("PROXY TCP4 192.0", "broken"),
            ("EHLO client.example\r\n", "no header"),
            ("", "broken"),
        ] {
            let bytes = [header.as_bytes(), b"EHLO x\r\n"].concat();
            if expected == "broken" {
                assert_eq!(outcome(header.as_bytes()).await.0, expected, "{header}");
            } else {
                let (found, rest) = outcome(&bytes).await;
                assert_eq!(found, expected, "{header}");
                assert!(!["none", "192.0.2.7"].contains(&expected) || rest == b"EHLO x\r\n", "{header}");
            }
        }
    }

    #[tokio::test]
    async fn headers_in_binary() {
        let four: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 4, 0, 25];
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        let noted = [four, &[4, 0, 1, 0]].concat();
        let cases: &[(u8, u8, &[u8], &str)] = &[
            (0x21, 0x11, four, "192.0.2.7"),
            (0x21, 0x11, &noted, "192.0.2.7"),
            (0x21, 0x21, &six, "2001:db8::7"),
            (0x20, 0x00, &[], "none"),
            (0x20, 0x11, four, "none"),
            (0x21, 0x00, &[], "none"),
            (0x21, 0x11, &four[..11], "malformed"),
            (0x21, 0x21, &six[..35], "malformed"),
            (0x11, 0x11, four, "malformed"),
            (0x22, 0x11, four, "malformed"),
            (0x21, 0x41, four, "malformed"),
        ];
        for (version, family, rest, expected) in cases {
            let length = (rest.len() as u16).to_be_bytes();
            let header = [&SIGNATURE[..], &[*version, *family], &length, rest, b"EHLO x\r\n"].concat();
            let (found, left) = outcome(&header).await;
            assert_eq!(found, *expected, "{version:x} {family:x}");
            assert!(found == "malformed" || left == b"EHLO x\r\n");
        }
        let endless = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        assert_eq!(outcome(&endless).await.0, "malformed");
    }
}
