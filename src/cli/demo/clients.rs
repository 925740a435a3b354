//! The people and programs that use the bridge, each through the protocol it would really use.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use aws_lc_rs::rand;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Message, MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use russh::client;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh_sftp::client::SftpSession;
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

/// A mail as somebody at the front desk writes it.
pub(super) struct Mail<'a> {
    pub(super) to: &'a str,
    pub(super) subject: &'a str,
    pub(super) text: &'a str,
    /// With its angle brackets.
    pub(super) message_id: &'a str,
    /// Name and content of the PDF.
    pub(super) attachment: (&'a str, Vec<u8>),
}

/// Sends `mail` to the bridge's SMTP listener; returns once it is accepted.
pub(super) async fn send_mail(bridge: SocketAddr, mail: Mail<'_>) -> anyhow::Result<()> {
    let (name, pdf) = mail.attachment;
    let attachment = Attachment::new(name.to_owned()).body(pdf, ContentType::parse("application/pdf")?);
    let message = Message::builder()
        .from("Jane Alvarado <jane@clinic.example>".parse()?)
        .to(mail.to.parse()?)
        .subject(mail.subject)
        .message_id(Some(mail.message_id.to_owned()))
        .multipart(
            MultiPart::mixed().singlepart(SinglePart::plain(mail.text.to_owned())).singlepart(attachment),
        )?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bridge.ip().to_string())
        .port(bridge.port())
        .build();
    let sent = transport.send(message).await;
    transport.shutdown().await;
    sent.with_context(|| format!("the bridge did not take the mail to {}", mail.to))?;
    Ok(())
}

/// Puts a file into a folder that the bridge watches, under its final name only once it is whole.
pub(super) async fn drop_file(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let half = folder.join(format!(".{name}.part"));
    tokio::fs::write(&half, content).await?;
    tokio::fs::rename(half, folder.join(name)).await
}

/// A key for an SFTP user.
pub(super) fn new_key() -> anyhow::Result<PrivateKey> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::fill(seed.as_mut()).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    Ok(PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "faxbridge demo")?)
}

/// An SFTP client that is signed in.
pub(super) struct Sftp {
    files: SftpSession,
    /// The connection lives as long as this.
    _connection: client::Handle<Known>,
}

impl Sftp {
    /// Signs in as `user`, if the server shows the key whose private half is in the file `host_key`.
    pub(super) async fn connect(
        bridge: SocketAddr,
        user: &str,
        key: &PrivateKey,
        host_key: &Path,
    ) -> anyhow::Result<Sftp> {
        let host_key =
            tokio::fs::read(host_key).await.map(Zeroizing::new).context("the bridge's host key")?;
        let known = Known(PrivateKey::from_openssh(host_key.as_slice())?.public_key().clone());
        let mut connection = client::connect(Arc::default(), bridge, known).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
        if !connection.authenticate_publickey(user, key).await?.success() {
            bail!("the SFTP server did not accept the key of {user}");
        }
        let channel = connection.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        Ok(Sftp { files: SftpSession::new(channel.into_stream()).await?, _connection: connection })
    }

    /// Uploads a file; returns once the server has confirmed that it is closed, which is its word that it is kept.
    pub(super) async fn put(&self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let mut file = self.files.create(path).await?;
        file.write_all(content).await?;
        file.shutdown().await.context("the SFTP server did not take the file")?;
        Ok(())
    }

    /// The content of a file, or `None` where there is none.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(if self.files.try_exists(path).await? { Some(self.files.read(path).await?) } else { None })
    }
}

/// Accepts this host key alone.
struct Known(PublicKey);

impl client::Handler for Known {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(
            matches!(shown, PublicKeyOrCertificate::PublicKey { key, .. } if key.key_data() == self.0.key_data()),
        )
    }
}
