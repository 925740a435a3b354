//! What stands between an adapter and the simulator: it passes everything on, and does one thing wrong with the request that
//! may cause a call, or with the questions that follow.
//!
//! Every connection carries one request: what is passed on says `Connection: close`, so answers end with their connection and
//! need not be understood.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use faxbridge::simulator::server::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is reset when the request has begun; nothing of it is passed on.
    ResetUnread,
    /// The request is taken, then the connection is reset.
    ResetTaken,
    /// The request is taken, then the connection is reset in the middle of the answer.
    ResetInAnswer,
    /// The request is taken, and its answer never comes.
    Withheld,
    /// The request is taken, and its answer comes whole but for the end of its JSON, or the name of the fax in its head.
    Truncated,
    /// This is answered; nothing is passed on.
    Says(Said),
    /// The request is taken, and this is answered.
    SaysTaken(Said),
    /// The request is passed on with other credentials, so that the API itself refuses it.
    Stranger,
}

impl Fault {
    /// Whether the provider has the request all the same.
    pub(crate) fn takes(self) -> bool {
        matches!(
            self,
            Fault::ResetTaken
                | Fault::ResetInAnswer
                | Fault::Withheld
                | Fault::Truncated
                | Fault::SaysTaken(_)
        )
    }
}

/// An answer that is not of the provider's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: u16,
    /// A header line, or nothing.
    pub(crate) header: &'static str,
    pub(crate) body: &'static str,
}

/// What a gateway says in place of the API.
pub(crate) const PAGE: &str =
    "<html><head><title>Gateway</title></head><body>Please come again.</body></html>";

impl Said {
    fn bytes(self) -> Vec<u8> {
        let Said { status, header, body } = self;
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: text/html\r\n{header}Connection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// Which requests of an adapter may cause a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submits {
    /// They are POSTs to this path.
    pub(crate) path: &'static str,
    /// And this stands at the beginning of their body.
    pub(crate) body: &'static str,
}

/// See the module.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Bound, but nobody listens: connections are refused.
    closed: Mutex<Option<TcpSocket>>,
    inner: Arc<Inner>,
}

struct Inner {
    simulator: Arc<Running>,
    /// What clients show, and what stands in its place for [`Fault::Stranger`].
    secret: &'static str,
    submits: Submits,
    fault: Mutex<Option<Fault>>,
    question_fault: Mutex<Option<Fault>>,
    seen: AtomicUsize,
}

impl Proxy {
    /// In front of `simulator`. Connections are refused until [`Proxy::open`].
    pub(crate) fn new(simulator: Arc<Running>, secret: &'static str, submits: Submits) -> Proxy {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Proxy {
            address: socket.local_addr().unwrap(),
            closed: Mutex::new(Some(socket)),
            inner: Arc::new(Inner {
                simulator,
                secret,
                submits,
                fault: Mutex::default(),
                question_fault: Mutex::default(),
                seen: AtomicUsize::new(0),
            }),
        }
    }

    /// Does this wrong from now on with requests that may cause a call, or nothing.
    pub(crate) fn fault(&self, fault: Option<Fault>) {
        *self.inner.fault.lock().unwrap() = fault;
    }

    /// Does this wrong from now on with questions, or nothing.
    pub(crate) fn question_fault(&self, fault: Option<Fault>) {
        *self.inner.question_fault.lock().unwrap() = fault;
    }

    /// How many requests that may cause a call have come so far.
    pub(crate) fn seen(&self) -> usize {
        self.inner.seen.load(Ordering::SeqCst)
    }

    /// Listens from now on.
    pub(crate) fn open(&self) {
        let Some(socket) = self.closed.lock().unwrap().take() else { return };
        let listener: TcpListener = socket.listen(64).unwrap();
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&inner);
                // Whoever hangs up in mid-request ends this one connection.
                tokio::spawn(async move { inner.pass(stream).await.ok() });
            }
        });
    }
}

impl Inner {
    async fn pass(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut request = Request::begin(&mut client).await?;
        let fault = match self.errand(&request) {
            Errand::Submit => {
                self.seen.fetch_add(1, Ordering::SeqCst);
                *self.fault.lock().unwrap()
            }
            Errand::Question => *self.question_fault.lock().unwrap(),
            Errand::Other => None,
        };
        if fault == Some(Fault::ResetUnread) {
            return client.set_zero_linger();
        }
        request.finish(&mut client).await?;
        if let Some(Fault::Says(said)) = fault {
            return client.write_all(&said.bytes()).await;
        }
        if fault == Some(Fault::Stranger) {
            request.show_other_credentials(self.secret);
        }
        let answer = self.forward(&request).await?;
        if fault.is_some_and(Fault::takes) {
            // The fax was called out before its answer is lost: what is asked next, and what a provider that fetches
            // documents sees, then does not depend on who is faster.
            self.simulator.idle().await;
        }
        match fault {
            Some(Fault::ResetTaken) => client.set_zero_linger(),
            Some(Fault::ResetInAnswer) => {
                client.write_all(&answer[..answer.len() / 2]).await?;
                client.set_zero_linger()
            }
            Some(Fault::Withheld) => client.read(&mut [0]).await.map(drop),
            Some(Fault::Truncated) => client.write_all(&truncated(&answer)).await,
            Some(Fault::SaysTaken(said)) => client.write_all(&said.bytes()).await,
            _ => client.write_all(&answer).await,
        }
    }

    fn errand(&self, request: &Request) -> Errand {
        let mut words = request.head.split(' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let body = String::from_utf8_lossy(&request.body);
        match method {
            Some("GET") => Errand::Question,
            Some("POST") if path == self.submits.path && body.contains(self.submits.body) => Errand::Submit,
            // Where one URL takes everything.
            Some("POST") if path == self.submits.path => Errand::Question,
            _ => Errand::Other,
        }
    }

    async fn forward(&self, request: &Request) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.simulator.addr).await?;
        let head = request.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(head.as_bytes()).await?;
        server.write_all(&request.body).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

enum Errand {
    Submit,
    Question,
    Other,
}

struct Request {
    /// With the empty line.
    head: String,
    body: Vec<u8>,
    /// That the body is to have.
    length: usize,
}

/// As much of a body as is looked at before it is decided whether the rest is read.
const BEGINNING: usize = 64;

impl Request {
    /// Reads the head and the beginning of the body.
    async fn begin(client: &mut TcpStream) -> std::io::Result<Request> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            more(client, &mut bytes).await?;
        };
        let body = bytes.split_off(end);
        let head = String::from_utf8(bytes).unwrap();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        assert!(
            header(&head, "transfer-encoding").is_none(),
            "no adapter sends a length that is not announced"
        );
        let mut request = Request { head, body, length };
        request.read_to(client, BEGINNING.min(length)).await?;
        Ok(request)
    }

    async fn finish(&mut self, client: &mut TcpStream) -> std::io::Result<()> {
        self.read_to(client, self.length).await
    }

    async fn read_to(&mut self, client: &mut TcpStream, length: usize) -> std::io::Result<()> {
        while self.body.len() < length {
            more(client, &mut self.body).await?;
        }
        Ok(())
    }

    /// Puts others in the place of the credentials in head and body; the length stays.
    fn show_other_credentials(&mut self, secret: &str) {
        if let Some(shown) = header(&self.head, "authorization") {
            let (scheme, right) = shown.split_once(' ').unwrap();
            let wrong: String = right.chars().rev().collect();
            let wrong = if scheme == "Basic" { "d3Jvbmc6d3Jvbmc=".to_owned() } else { wrong };
            self.head = self.head.replace(shown, &format!("{scheme} {wrong}"));
        }
        let wrong: Vec<u8> = secret.bytes().rev().collect();
        let place = self.body.windows(secret.len()).position(|window| window == secret.as_bytes());
        if let Some(place) = place {
            self.body[place..place + wrong.len()].copy_from_slice(&wrong);
        }
    }
}

async fn more(from: &mut TcpStream, into: &mut Vec<u8>) -> std::io::Result<()> {
    match from.read_buf(into).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The answer with half its body, and without the name that InterFAX gives in the head, having no body at all.
fn truncated(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = &body.as_bytes()[..body.len() / 2];
    let kept = head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !["content-length", "location"].contains(&name.as_str())
    });
    let mut cut: Vec<u8> = kept.flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
    cut.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
    cut.extend(body);
    cut
}
