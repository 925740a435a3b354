//! A socket that connections come in by, which can be closed without a word to those that came.
//!
//! When a changed configuration is taken, the same socket is handed to what serves the new one; what served the old one must
//! accept nothing more, and still serve its sessions to their end. So a server is told two things: here, that nothing more comes;
//! and by its own shutdown, that its sessions are to end.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// See the module.
#[derive(Debug)]
pub struct Listener {
    /// Gone once it was closed.
    socket: Option<TcpListener>,
    close: Option<watch::Receiver<bool>>,
}

impl From<TcpListener> for Listener {
    /// One that is never closed.
    fn from(socket: TcpListener) -> Self {
        Listener { socket: Some(socket), close: None }
    }
}

impl Listener {
    /// One that is closed when `close` turns true.
    #[must_use]
    pub fn until(socket: TcpListener, close: watch::Receiver<bool>) -> Self {
        Listener { socket: Some(socket), close: Some(close) }
    }

    /// Whether nothing more comes in by it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.socket.is_none()
    }

    /// The next connection; `None` once it is closed. Nothing is lost where this is dropped before it returns.
    pub async fn accept(&mut self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = {
            let socket = self.socket.as_ref()?;
            match &mut self.close {
                None => Some(socket.accept().await),
                Some(close) => tokio::select! {
                    biased;
                    // Whoever could say so is gone: that closes it too.
                    _ = close.wait_for(|close| *close) => None,
                    accepted = socket.accept() => Some(accepted),
                },
            }
        };
        if accepted.is_none() {
            self.socket = None;
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_closed_accepts_nothing_and_another_handle_of_the_socket_does() {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        first.set_nonblocking(true).unwrap();
        let second = TcpListener::from_std(first.try_clone().unwrap()).unwrap();
        let address = second.local_addr().unwrap();
        let (close, closed) = watch::channel(false);
        let mut old = Listener::until(TcpListener::from_std(first).unwrap(), closed);
        let _one = TcpStream::connect(address).await.unwrap();
        assert!(old.accept().await.unwrap().is_ok());
        close.send(true).unwrap();
        let _two = TcpStream::connect(address).await.unwrap();
        assert!(old.accept().await.is_none());
        assert!(old.is_closed() && old.accept().await.is_none());
        let mut new = Listener::from(second);
        assert!(new.accept().await.unwrap().is_ok(), "it waited in the queue that both share");
    }
}
