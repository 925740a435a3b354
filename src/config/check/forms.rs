//! Forms of texts: mail addresses, host names, URLs, numbers.

use std::net::{IpAddr, Ipv6Addr};

/// Whether `text` can be a mail address as this program takes them: `local@domain` without quotes, comments or display name.
pub(super) fn is_mail_address(text: &str) -> bool {
    match text.rsplit_once('@') {
        Some((local, domain)) => {
            let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !"()<>[]:;@\\,\"".contains(c);
            !local.is_empty()
                && local.len() <= 64
                && local.chars().all(allowed)
                && !local.starts_with('.')
                && !local.ends_with('.')
                && !local.contains("..")
                && is_domain(domain)
        }
        None => false,
    }
}

/// Whether `text` can be a domain: labels of letters (any script), digits and inner hyphens.
pub(super) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The host of `host:port`, `[v6]:port`; `None` when it is something else.
pub(super) fn host_of(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    // `u16::from_str` would take "+25".
    let port_ok = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host_ok = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => is_domain(host),
    };
    (port_ok && host_ok).then_some(host)
}

/// Whether `host` is this machine: what is said in clear to it no network sees.
pub(super) fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A URL, as far as it matters here.
pub(super) struct Url {
    pub(super) host: String,
    pub(super) encrypted: bool,
}

/// An `http` or `https` URL, or a sentence. The URL is not repeated when a password may stand in it.
pub(super) fn url(text: &str) -> Result<Url, String> {
    const WANTED: &str = "an https:// or http:// URL with a host, as \"https://fax.example.com/api\"";
    let parsed = reqwest::Url::parse(text);
    let found = match &parsed {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            return Err("found a name or password in the URL; allowed: a URL without, since secrets never stand in this file".into());
        }
        Ok(url) => Some(url),
        Err(_) => None,
    };
    match found.and_then(|url| Some((url.scheme(), url.host_str()?))) {
        Some((scheme @ ("http" | "https"), host)) => {
            Ok(Url { host: host.to_owned(), encrypted: scheme == "https" })
        }
        _ if text.contains('@') => Err(format!("found something else; allowed: {WANTED}")),
        _ => Err(format!("found {text:?}; allowed: {WANTED}")),
    }
}

/// Whether `text` is a number in E.164 form: `+` and 7 to 15 digits, the first not 0.
pub(super) fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_addresses() {
        for good in
            ["jane@clinic.example", "j.d+fax@a-b.example", "postmaster@localhost", "jörg@bücher.example"]
        {
            assert!(is_mail_address(good), "{good}");
        }
        for bad in [
            "", "jane", "@x", "jane@", "a b@x", "a@b@c", "a@-b", "a@b..c", ".a@b", "a..b@c", "<a@b>",
            "a@b\r\nc",
        ] {
            assert!(!is_mail_address(bad), "{bad}");
        }
    }

    #[test]
    fn hosts_with_ports() {
        for (text, host) in [
            ("mail.example.com:587", Some("mail.example.com")),
            ("127.0.0.1:25", Some("127.0.0.1")),
            ("[::1]:25", Some("[::1]")),
            ("mail.example.com", None),
            ("mail.example.com:0", None),
            ("mail.example.com:+25", None),
            ("mail.example.com:smtp", None),
            (":25", None),
            ("::1:25", None),
            ("smtp://mail:25", None),
        ] {
            assert_eq!(host_of(text), host, "{text}");
        }
        for (host, ours) in
            [("127.0.0.1", true), ("[::1]", true), ("LOCALHOST", true), ("192.0.2.1", false), ("a", false)]
        {
            assert_eq!(is_this_machine(host), ours, "{host}");
        }
    }

    #[test]
    fn urls_and_numbers() {
        assert!(
            url("https://fax.example.com/api")
                .is_ok_and(|url| url.encrypted && url.host == "fax.example.com")
        );
        assert!(url("http://127.0.0.1:8099").is_ok_and(|url| !url.encrypted && is_this_machine(&url.host)));
        assert!(url("http://[::1]:8099").is_ok_and(|url| is_this_machine(&url.host)));
        for bad in ["fax.example.com", "ftp://fax.example.com", "", "https://", "https:/?"] {
            assert!(url(bad).is_err_and(|sentence| sentence.contains("allowed: an https")), "{bad}");
        }
        for bad in
            ["https://user:hunter2@fax.example.com", "user:hunter2@fax.example.com", "ftp://u:hunter2@x"]
        {
            assert!(url(bad).is_err_and(|sentence| !sentence.contains("hunter2")), "{bad}");
        }
        for (text, good) in [
            ("+12125550199", true),
            ("+493012345", true),
            ("12125550199", false),
            ("+0301234567", false),
            ("+1 212", false),
        ] {
            assert_eq!(is_e164(text), good, "{text}");
        }
    }
}
