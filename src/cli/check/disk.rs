//! What the configuration points to on this machine's disks.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::config::Loaded;
use faxbridge::cover::Fonts;
use faxbridge::spool::Spool;
use faxbridge::store::{Store, StoreError, file_in};
use faxbridge::text::Bytes;
use faxbridge::{intake, shared_folder};
use jiff::SignedDuration;
use rustix::fs::Access;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Findings;
use super::certificate::not_after;
use crate::cli::daemon_runs;
use crate::cli::listing::{Times, count};
use faxbridge::vault::MasterKey;

/// A certificate that ends sooner is warned of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

pub(super) fn data_dir(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<()> {
    let dir = &loaded.config.store.data_dir;
    let shown = dir.display();
    let fault = |sentence: String| loaded.fault("store.data_dir", sentence);
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match above(dir) {
            Some(above) if may_write(&above) => findings.ok(format_args!("{shown} is not there yet; the first `faxbridge serve` makes it")),
            _ => findings.warn(fault(format!(
                "{shown} is not there, and this user may not make it; the daemon needs it (systemd's StateDirectory= makes it)"
            ))),
        },
        Err(error) => findings.at(&fault(format!("{shown} cannot be looked at: {error}"))),
        Ok(facts) if !facts.is_dir() => findings.at(&fault(format!("{shown} is not a folder"))),
        Ok(_) if !may_write(dir) => {
            findings.warn(fault(format!("this user may not write to {shown}; the daemon's user must (run this check as that user)")))
        }
        Ok(facts) => {
            if facts.mode() & 0o077 != 0 {
                let mode = facts.mode() & 0o777;
                findings.warn(fault(format!("others may enter {shown} (mode {mode:03o}); `chmod 700 {shown}` ends that")))?;
            }
            let daemon = if daemon_runs(dir) { "a daemon is running on it" } else { "no daemon is running on it" };
            let free = rustix::fs::statvfs(dir).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize));
            let reserve = loaded.config.limits.disk_reserve;
            if free < reserve.get() {
                let sentence = format!("{shown} has {} free, less than limits.disk_reserve ({reserve}): submissions are refused", Bytes(free));
                findings.at(&fault(sentence))?;
            }
            findings.ok(format_args!("{shown}: {} free, {daemon}", Bytes(free)))
        }
    }
}

/// The nearest folder above `path` that exists.
fn above(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .skip(1)
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
        .find(|path| path.exists())
        .map(Path::to_owned)
}

fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// The master key is one, and the one under which the spool was begun.
pub(super) fn master_key(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<()> {
    let fault = |error: &dyn std::fmt::Display| loaded.fault("store.master_key", error.to_string());
    let secret = match loaded.config.store.master_key.read_raw() {
        Ok(secret) => secret,
        Err(error) => return findings.at(&fault(&error)),
    };
    let master = match MasterKey::from_bytes(secret.bytes()) {
        Ok(master) => master,
        Err(error) => return findings.at(&fault(&error)),
    };
    let spool = loaded.config.store.data_dir.join("spool");
    // Opening would begin a spool that is not there.
    if !spool.join("key-check").exists() {
        return findings.ok("the master key is a good one; no document has been sealed under it yet");
    }
    match Spool::open(spool, master) {
        Ok(_) => findings.ok("the master key opens the sealed documents"),
        Err(error) => findings.at(&fault(&error)),
    }
}

/// Opens the database for a look.
pub(super) async fn database(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<Option<Store>> {
    let dir = &loaded.config.store.data_dir;
    let missing =
        std::fs::metadata(file_in(dir)).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if missing {
        findings.ok("there is no database yet; the first `faxbridge serve` makes it")?;
    } else {
        match Store::look(dir).await {
            Ok(store) => {
                let open = store.open_submissions().await?;
                findings.ok(format_args!(
                    "the database can be read, its schema fits; {} open",
                    count(usize::try_from(open).unwrap_or(usize::MAX), "submission")
                ))?;
                return Ok(Some(store));
            }
            Err(error @ StoreError::OlderSchema { .. }) => findings.warn(error)?,
            Err(error) => findings.fault(error)?,
        }
        return Ok(None);
    }
    Ok(Store::look(dir).await.ok())
}

/// Certificates, host key, fonts.
pub(super) fn files(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<()> {
    let config = &loaded.config;
    if let Some(smtp) = &config.smtp {
        match (&smtp.tls_certificate, &smtp.tls_key) {
            (Some(certificate), Some(key)) => tls(loaded, "smtp", certificate, key, findings)?,
            _ => findings.warn(
                "[smtp] has no tls_certificate and tls_key: mail arrives unencrypted, and nobody can sign in",
            )?,
        }
        if let Some(path) = &smtp.client_authorities {
            match intake::smtp::Partners::read(path) {
                Ok(_) => {
                    findings
                        .ok(format_args!("client certificates can be checked with {}", path.display()))?;
                }
                Err(error) => findings.at(&loaded.fault("smtp.client_authorities", error.to_string()))?,
            }
        }
    }
    let webhook =
        config.webhook.as_ref().map(|s| ("webhook", s.tls_certificate.as_ref(), s.tls_key.as_ref()));
    let media = config.media.as_ref().map(|s| ("media", s.tls_certificate.as_ref(), s.tls_key.as_ref()));
    for (section, certificate, key) in webhook.into_iter().chain(media) {
        match (certificate, key) {
            (Some(certificate), Some(key)) => tls(loaded, section, certificate, key, findings)?,
            _ => findings.ok(format_args!(
                "[{section}] has no tls_certificate and tls_key: a reverse proxy in front has to do TLS"
            ))?,
        }
    }
    if let Some(sftp) = &config.sftp {
        let path =
            sftp.host_key.clone().unwrap_or_else(|| config.store.data_dir.join("ssh_host_ed25519_key"));
        if path.exists() {
            match intake::sftp::hostkey::load_or_make(&path) {
                Ok(_) => findings.ok(format_args!("the SSH host key {} can be used", path.display()))?,
                Err(error) => findings.at(&loaded.fault("sftp.host_key", error.to_string()))?,
            }
        } else {
            findings.ok(format_args!(
                "the SSH host key {} is made at the first `faxbridge serve`",
                path.display()
            ))?;
        }
    }
    match Fonts::with_files(&config.cover.fonts) {
        Ok(_) if config.cover.fonts.is_empty() => Ok(()),
        Ok(_) => findings
            .ok(format_args!("{} for covers can be used", count(config.cover.fonts.len(), "font file"))),
        Err(error) => findings.at(&loaded.fault("cover.fonts", error.to_string())),
    }
}

fn tls(
    loaded: &Loaded,
    section: &str,
    certificate: &Path,
    key: &Path,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let fault = |sentence: String| loaded.fault(&format!("{section}.tls_certificate"), sentence);
    if let Err(error) = intake::smtp::server_config(certificate, key) {
        return findings.at(&fault(error.to_string()));
    }
    let end = CertificateDer::from_pem_file(certificate).ok().and_then(|certificate| not_after(&certificate));
    let Some(end) = end else {
        return findings.ok(format_args!("the TLS certificate of [{section}] and its key fit each other"));
    };
    let (now, until) = (SystemClock.now(), Times::of(&loaded.config).full(end));
    if end <= now {
        findings.at(&fault(format!("the certificate ended on {until}; renew it")))
    } else if end.duration_since(now) < SOON {
        findings.warn(fault(format!("the certificate ends on {until}")))
    } else {
        findings
            .ok(format_args!("the TLS certificate of [{section}] and its key fit each other, until {until}"))
    }
}

/// Watched folders exist, can be written, and nobody else can exchange what lies there.
pub(super) fn folders(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<()> {
    // Whoever looks, root for instance: the daemon is whose data folder it is.
    let us = rustix::process::geteuid().as_raw();
    let daemon = std::fs::metadata(&loaded.config.store.data_dir).map_or(us, |facts| facts.uid());
    for (name, folder) in &loaded.config.folder {
        let (path, shown) = (&folder.path, folder.path.display());
        let key = format!("folder.{}.path", super::config_key(name));
        let fault = |sentence: String| loaded.fault(&key, sentence);
        match std::fs::metadata(path) {
            Ok(facts) if facts.is_dir() => {}
            Ok(_) => {
                findings.at(&fault(format!("{shown} is not a folder")))?;
                continue;
            }
            Err(error) => {
                findings.at(&fault(format!(
                    "{shown} cannot be watched: {error}; make it, writable by the daemon's user"
                )))?;
                continue;
            }
        }
        if let Err(error) = shared_folder::trusted_by(path, daemon) {
            findings.at(&fault(error.to_string()))?;
        } else if may_write(path) {
            findings.ok(format_args!("the folder {shown} can be watched"))?;
        } else {
            findings.warn(fault(format!(
                "this user may not write to {shown}; the daemon's user must, to claim files by renaming them"
            )))?;
        }
    }
    Ok(())
}
