//! One SSH connection: who is it, and nothing but SFTP for them.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty};
use tokio::sync::{oneshot, watch};

use super::channel;
use super::files::Files;
use super::shelf::Shelves;
use crate::intake::{Intake, SftpUser};

/// Channels a connection may have open at once. Multiplexing clients use a few.
const CHANNELS: usize = 8;

/// The handler russh calls for one connection.
pub(super) struct Connection {
    pub(super) intake: Intake,
    pub(super) shelves: Arc<Shelves>,
    pub(super) stop: watch::Receiver<bool>,
    /// How many channels are being served; the connection's task waits for zero before it lets go.
    pub(super) serving: watch::Sender<usize>,
    /// Told once the client has shown its key.
    pub(super) authenticated: Option<oneshot::Sender<()>>,
    pub(super) user: Option<SftpUser>,
    /// Channels that are open but have not asked for SFTP yet.
    pub(super) waiting: HashMap<ChannelId, Channel<Msg>>,
}

impl Connection {
    /// The user if `key` is one of theirs. An unknown user is answered like a wrong key.
    fn identify(&self, user: &str, key: &KeyData, algorithm: &Algorithm) -> Option<SftpUser> {
        // `ssh-rsa` signs with SHA-1, which no longer proves anything.
        if matches!(algorithm, Algorithm::Rsa { hash: None }) {
            return None;
        }
        let user = self.intake.sftp_user(user)?;
        let known = user.keys.iter().filter_map(|line| PublicKey::from_openssh(line).ok());
        known.into_iter().any(|known| known.key_data() == key).then_some(user)
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(match self.identify(user, offer.public_key.key_data(), offer.algorithm) {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.user = self.identify(user, key.public_key.key_data(), key.algorithm);
        Ok(if self.user.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), russh::Error> {
        if let Some(authenticated) = self.authenticated.take() {
            // Its receiver is gone only if the connection is ending.
            let _ = authenticated.send(());
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.waiting.len() + *self.serving.borrow() < CHANNELS {
            self.waiting.insert(channel.id(), channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let (Some(user), "sftp") = (&self.user, name) else {
            return session.channel_failure(channel);
        };
        let Some(opened) = self.waiting.remove(&channel) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let (incoming, outgoing) = opened.split();
        let files = Files::new(self.intake.clone(), user.clone(), Arc::clone(&self.shelves));
        let (stop, serving) = (self.stop.clone(), self.serving.clone());
        serving.send_modify(|count| *count += 1);
        // Its own task: an accept that is under way when the connection drops still comes to its end.
        tokio::spawn(async move {
            channel::serve(incoming, outgoing, files, stop).await;
            serving.send_modify(|count| *count -= 1);
        });
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.waiting.remove(&channel);
        Ok(())
    }

    // Everything that is not SFTP is refused in so many words; russh would leave the client waiting. Forwarding of
    // ports and sockets is refused by russh itself as long as nothing here accepts it.

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}
