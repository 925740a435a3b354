//! The ways in, opened as the configuration has them.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Parts, StartError, listen};
use crate::alarm::Alarm;
use crate::config;
use crate::intake::smtp::{Door, Partners, Tls};
use crate::intake::{self, Intake};

impl Parts {
    /// Opens every way in.
    pub(super) async fn open_doors(&mut self) -> Result<(), StartError> {
        let intake = Intake::new(
            Arc::clone(&self.config),
            self.store.clone(),
            self.spool.clone(),
            Arc::clone(&self.rules),
            Arc::clone(&self.clock),
            Arc::clone(&self.arrived),
        )
        .map_err(StartError::configuration)?
        .telling(Arc::clone(&self.rush), self.alarms.clone());
        if let Some(smtp) = self.config.smtp.clone() {
            self.open_smtp(&smtp, &intake).await?;
        }
        if let Some(sftp) = self.config.sftp.clone() {
            let path = sftp.host_key.clone();
            let path = path.unwrap_or_else(|| self.config.store.data_dir.join("ssh_host_ed25519_key"));
            let key = intake::sftp::hostkey::load_or_make(&path)
                .map_err(|e| StartError::new("sftp.host_key", e))?;
            for address in &sftp.listen {
                let (listener, address) = listen("sftp.listen", *address).await?;
                self.addresses.sftp.push(address);
                let served = intake::sftp::serve(
                    listener,
                    sftp.clone(),
                    key.clone(),
                    intake.clone(),
                    self.shutdown.subscribe(),
                );
                self.doors.spawn(async {
                    served.await;
                    "the SFTP server ended".into()
                });
            }
        }
        self.open_mailboxes(&intake);
        let configured = self.config.folder.keys().map(String::as_str);
        for (name, files) in intake::folder::abandoned(&self.config.store.data_dir, configured) {
            let cause = format!(
                "{files} files that were taken from the folder {name} wait in {}, and there is no [folder.{name}] any more; put it \
                 back for a start, or move them away",
                self.config.store.data_dir.join("claims").join(&name).display()
            );
            self.alarms.raise(Alarm::Folder(name), cause, self.clock.now());
        }
        for (name, folder) in self.config.folder.clone() {
            // One that is missing may come; one that strangers can exchange is a fault of the configuration.
            if let Err(error) = intake::folder::trusted(&folder.path)
                && !error.is_missing()
            {
                return Err(StartError::configuration(format!("folder.{name}.path: {error}")));
            }
            let watched = intake::folder::watch(name, folder, intake.clone(), self.shutdown.subscribe());
            self.doors.spawn(async {
                watched.await;
                "a watched folder ended".into()
            });
        }
        Ok(())
    }

    /// Begins to fetch every mailbox. None that is out of reach keeps the daemon from starting.
    fn open_mailboxes(&mut self, intake: &Intake) {
        let bodies = Arc::new(Semaphore::new(intake::imap::BODIES));
        for (name, section) in self.config.imap.clone() {
            let mailbox = intake::imap::Mailbox {
                tokens: section.oauth.as_ref().and_then(|name| self.tokens.get(name).cloned()),
                name,
                section,
                intake: intake.clone(),
                bodies: Arc::clone(&bodies),
            };
            let fetched = intake::imap::fetch(mailbox, self.shutdown.subscribe());
            self.doors.spawn(async {
                fetched.await;
                "a mailbox is no longer fetched".into()
            });
        }
    }

    async fn open_smtp(&mut self, smtp: &config::Smtp, intake: &Intake) -> Result<(), StartError> {
        let partners = partners(smtp)?;
        let config =
            self.tls("smtp", smtp.tls_certificate.as_ref(), smtp.tls_key.as_ref(), partners.as_ref())?;
        let tls = config.map(|config| Tls { config, partners });
        let server =
            intake::smtp::Server::new(smtp, tls, intake.clone()).map_err(StartError::configuration)?;
        for (key, door, addresses) in [
            ("smtp.listen", Door::Smtp, &smtp.listen),
            ("smtp.listen_tls", Door::Tls, &smtp.listen_tls),
            ("smtp.listen_lmtp", Door::Lmtp, &smtp.listen_lmtp),
        ] {
            for address in addresses {
                let (listener, address) = listen(key, *address).await?;
                match door {
                    Door::Smtp => self.addresses.smtp.push(address),
                    Door::Tls => self.addresses.smtp_tls.push(address),
                    Door::Lmtp => self.addresses.lmtp.push(address),
                }
                let (server, stop) = (server.clone(), self.shutdown.subscribe());
                self.doors.spawn(async move {
                    server.serve(listener, door, stop).await;
                    "the SMTP listener ended".into()
                });
            }
        }
        Ok(())
    }
}

/// The authorities whose client certificates are believed.
pub(super) fn partners(smtp: &config::Smtp) -> Result<Option<Arc<Partners>>, StartError> {
    let read = smtp.client_authorities.as_deref().map(Partners::read).transpose();
    read.map_err(|e| StartError::new("smtp.client_authorities", e))
}
