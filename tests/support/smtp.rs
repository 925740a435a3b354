//! A mail program, reduced to what matters here: it knows exactly for which mail it got its 250.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// A session.
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
}

/// A refusal: the code, and all lines of the reply.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server said no.
    Reply(u16, String),
    /// The connection broke: nobody knows.
    Broken(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Broken(error)
    }
}

impl Session {
    /// Connects and says hello.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Session, Refused> {
        Session::begin(TcpStream::connect(address).await?).await
    }

    /// The same from one of this machine's own addresses, as if from another machine.
    pub(crate) async fn connect_from(address: SocketAddr, own: Ipv4Addr) -> Result<Session, Refused> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((own, 0).into())?;
        Session::begin(socket.connect(address).await?).await
    }

    async fn begin(stream: TcpStream) -> Result<Session, Refused> {
        let mut session = Session { stream: BufReader::new(stream) };
        session.expect(220).await?;
        session.command("EHLO client.example", 250).await?;
        Ok(session)
    }

    /// Says these bytes and waits for nothing.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// Hands over one mail. `Ok` is the server's promise.
    pub(crate) async fn send(&mut self, from: &str, to: &[&str], mail: &[u8]) -> Result<String, Refused> {
        self.command(&format!("MAIL FROM:<{from}>"), 250).await?;
        for to in to {
            self.command(&format!("RCPT TO:<{to}>"), 250).await?;
        }
        self.command("DATA", 354).await?;
        let mut stuffed = Vec::with_capacity(mail.len() + 16);
        for line in mail.split_inclusive(|byte| *byte == b'\n') {
            if line.first() == Some(&b'.') {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        if !stuffed.ends_with(b"\r\n") {
            stuffed.extend_from_slice(b"\r\n");
        }
        stuffed.extend_from_slice(b".\r\n");
        self.stream.get_mut().write_all(&stuffed).await?;
        self.expect(250).await
    }

    /// Says `line`, and expects `code`.
    pub(crate) async fn command(&mut self, line: &str, code: u16) -> Result<String, Refused> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        self.expect(code).await
    }

    /// Reads one reply, and expects `code`.
    pub(crate) async fn expect(&mut self, code: u16) -> Result<String, Refused> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(Refused::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            reply.push_str(&line);
            if last {
                break;
            }
        }
        let got = reply.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
        if got == code { Ok(reply) } else { Err(Refused::Reply(got, reply)) }
    }
}

/// One mail in a session of its own.
pub(crate) async fn send(
    address: SocketAddr,
    from: &str,
    to: &[&str],
    mail: &[u8],
) -> Result<String, Refused> {
    Session::connect(address).await?.send(from, to, mail).await
}
