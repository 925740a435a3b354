//! One SSH connection: who is it, and nothing but SFTP for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Disconnect, Pty};
use tokio::sync::{oneshot, watch};

use super::account::SftpUser;
use super::channel;
use super::files::{Files, Shared};
use super::places::{Full, Place};
use super::refusals::Reason;

/// Channels a connection may have open at once. Multiplexing clients use a few.
const CHANNELS: usize = 8;
/// Extended data of a channel that is its standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;
/// For whoever wants anything but SFTP.
const ONLY_SFTP: &str = "This server takes files over SFTP and nothing else. With scp, leave the option -O out; where scp is older \
                         than OpenSSH 9, use sftp instead.\r\n";

/// The handler russh calls for one connection.
pub(super) struct Connection {
    pub(super) shared: Shared,
    pub(super) address: IpAddr,
    /// Whether it came in by the listener for old clients.
    pub(super) legacy: bool,
    pub(super) place: Arc<Place>,
    pub(super) stop: watch::Receiver<bool>,
    /// How many channels are being served; the connection's task waits for zero before it lets go.
    pub(super) serving: watch::Sender<usize>,
    /// Told once the client has shown its key.
    pub(super) authenticated: Option<oneshot::Sender<()>>,
    pub(super) sign_in: Arc<SignIn>,
    pub(super) user: Option<SftpUser>,
    /// Channels that are open but have not asked for SFTP yet.
    pub(super) waiting: HashMap<ChannelId, Channel<Msg>>,
}

/// How far the sign-in has come, for the log line of one that fails. A client that shows its keys one after the other has
/// failed only when it gives up.
#[derive(Debug, Default)]
pub(super) struct SignIn(Mutex<Option<Tried>>);

/// A sign-in that has not succeeded.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) user: String,
    /// Whether there is such a user.
    pub(super) known: bool,
    pub(super) reason: Reason,
}

impl SignIn {
    /// The last try, if none succeeded and there was one.
    pub(super) fn failed(&self) -> Option<Tried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, tried: Option<Tried>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tried;
    }
}

impl Connection {
    /// The user if `key` is one of theirs. An unknown user is answered like a wrong key.
    fn identify(&self, name: &str, key: &KeyData, algorithm: &Algorithm) -> Option<SftpUser> {
        let user = self.shared.intake.sftp_user(name);
        let reason = match &user {
            None => Reason::Unknown,
            Some(user) if self.legacy && !user.legacy => Reason::NotLegacy,
            Some(user) if !has_key(user, key) => Reason::Key,
            // `ssh-rsa` signs with SHA-1, which no longer proves much: where the way in is for that, and nowhere else.
            Some(_) if matches!(algorithm, Algorithm::Rsa { hash: None }) && !self.legacy => Reason::Sha1,
            Some(_) => {
                self.sign_in.note(None);
                return user;
            }
        };
        // A key that is right and signs wrongly says more than the next one, which is somebody else's.
        let before = self.sign_in.failed().filter(|tried| tried.user == name && tried.reason == Reason::Sha1);
        let tried = Tried { user: name.to_owned(), known: user.is_some(), reason };
        self.sign_in.note(Some(before.unwrap_or(tried)));
        None
    }

    fn no_key(&self, name: &str) {
        if self.sign_in.failed().is_none() {
            let known = self.shared.intake.sftp_user(name).is_some();
            self.sign_in.note(Some(Tried { user: name.to_owned(), known, reason: Reason::NoKey }));
        }
    }

    /// Anything but SFTP: a sentence where its client shows it, and an end that is a failure.
    fn only_sftp(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        if self.waiting.remove(&channel).is_none() {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.extended_data(channel, STDERR, ONLY_SFTP)?;
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

fn has_key(user: &SftpUser, key: &KeyData) -> bool {
    let known = user.keys.iter().filter_map(|line| PublicKey::from_openssh(line).ok());
    known.into_iter().any(|known| known.key_data() == key)
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        self.no_key(user);
        Ok(Auth::reject())
    }

    async fn auth_password(&mut self, user: &str, _password: &str) -> Result<Auth, russh::Error> {
        self.no_key(user);
        Ok(Auth::reject())
    }

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

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        let name = self.user.as_ref().map(|user| user.user.clone()).unwrap_or_default();
        if let Err(full) = self.place.sign_in(&name) {
            self.user = None;
            let reason = Reason::Full(full);
            self.sign_in.note(Some(Tried { user: name, known: true, reason }));
            let sentence = match full {
                Full::User => "You have too many sessions. Close some first.",
                Full::All | Full::Address => "There are too many sessions. Try again later.",
            };
            return session.disconnect(Disconnect::TooManyConnections, sentence, "en");
        }
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
        let files = Files::new(self.shared.clone(), user.clone(), self.address);
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
        self.only_sftp(channel, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.only_sftp(channel, session)
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
