//! Where SPF, DKIM and DMARC records are looked up.

use std::fmt;
use std::time::Duration;

use mail_auth::common::cache::NoCache;
use mail_auth::dmarc::Dmarc;
use mail_auth::hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use mail_auth::hickory_resolver::system_conf::read_system_conf;
use mail_auth::{DnsError, Error, MessageAuthenticator, Txt};

use super::author::a_label;
use crate::config::Dns;

/// Answers that are remembered, as long as their time to live says. One has up to 64 KiB, most far less. They are kept below
/// the library that reads the records, whose own store confuses kinds: a stranger's SPF record with `exp=clinic.example` would put
/// something that is no SPF record in the clinic's place there.
const MOST_ANSWERS: u64 = 1024;
/// No answer is remembered for longer; a key that is withdrawn must stop counting.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// Nor is a missing record, which somebody may just be adding.
const LONGEST_NONE: Duration = Duration::from_secs(5 * 60);

/// A resolver of mail's DNS records. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(MessageAuthenticator);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// One that asks the name servers of `[dns]`, or the system's.
    ///
    /// # Errors
    /// A sentence where the system names none.
    pub fn new(dns: &Dns) -> Result<Resolver, String> {
        let servers = if dns.servers.is_empty() {
            let (system, _) = read_system_conf()
                .map_err(|error| format!("the system names no name server (/etc/resolv.conf): {error}"))?;
            system.name_servers().to_vec()
        } else {
            let at = |server: &std::net::SocketAddr| {
                let mut named = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut named.connections {
                    connection.port = server.port();
                }
                named
            };
            dns.servers.iter().map(at).collect()
        };
        let mut options = ResolverOpts::default();
        // A datagram may get lost: each half of the time is one try.
        options.timeout = dns.timeout.std() / 2;
        options.attempts = 1;
        options.cache_size = MOST_ANSWERS;
        options.positive_max_ttl = Some(LONGEST);
        options.negative_max_ttl = Some(LONGEST_NONE);
        options.use_hosts_file = ResolveHosts::Never;
        // No search domains: every name that is asked for is a whole one.
        MessageAuthenticator::new(ResolverConfig::from_parts(None, Vec::new(), servers), options)
            .map(Resolver)
            .map_err(|error| format!("no resolver can be made of them: {error}"))
    }

    /// Whether `domain` has a DMARC record of its own.
    ///
    /// # Errors
    /// A sentence where nobody answers.
    pub async fn has_dmarc(&self, domain: &str) -> Result<bool, String> {
        let domain = a_label(domain).ok_or_else(|| format!("{domain} is no domain"))?;
        match self.0.txt_lookup::<Dmarc>(format!("_dmarc.{domain}."), None::<&NoCache<Box<str>, Txt>>).await {
            Ok(_) => Ok(true),
            Err(Error::Dns(DnsError::Resolver(error))) => Err(error),
            Err(_) => Ok(false),
        }
    }

    pub(super) fn authenticator(&self) -> &MessageAuthenticator {
        &self.0
    }
}
