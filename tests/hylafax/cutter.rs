//! A wire that breaks at a chosen place: it passes on control connections, and cuts the first that calls a number at the
//! place that stands for it in the plan.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Where it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// In the middle of a parameter: the number is kept, JSUBM is not written.
    InParameters,
    /// JSUBM is written and does not arrive.
    BeforeJsubm,
    /// JSUBM arrives, and nothing of its reply comes back.
    BeforeReply,
    /// The reply comes back without its end.
    InReply,
    /// JSUBM arrives, nothing of its reply comes back, and hfaxd does not learn that anything is amiss.
    Unnoticed,
}

/// Listens at `address` and leads to hfaxd at `port`. The plan says which number's first connection is cut where.
pub(crate) async fn wire(address: &str, port: u16, plan: &[(&str, Cut)]) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let at = listener.local_addr().unwrap();
    let plan: HashMap<String, Cut> = plan.iter().map(|(number, cut)| ((*number).to_owned(), *cut)).collect();
    let plan = Arc::new(Mutex::new(plan));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, port, Arc::clone(&plan)));
        }
    });
    at
}

/// Passes lines on in both directions. hfaxd speaks only when it is spoken to, so one command and what comes back for it can
/// be told apart by turns.
async fn pass(client: TcpStream, port: u16, plan: Arc<Mutex<HashMap<String, Cut>>>) -> Option<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::sync::watch::Sender::new(None::<Cut>);
    let mut orders = back.subscribe();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let order = *orders.borrow_and_update();
            let kept = match order {
                Some(Cut::BeforeReply | Cut::Unnoticed) => 0,
                Some(Cut::InReply) => 6.min(read),
                _ => read,
            };
            if to_client.write_all(&buffer[..kept]).await.is_err() || order.is_some() {
                drop(to_client);
                if order == Some(Cut::Unnoticed) {
                    std::future::pending::<()>().await;
                }
                break;
            }
        }
    });
    let mut lines = BufReader::new(from_client);
    let mut cut = None;
    loop {
        let mut line = Vec::new();
        let read = lines.read_until(b'\n', &mut line).await;
        if cut == Some(Cut::Unnoticed) && !matches!(read, Ok(1..)) {
            std::future::pending::<()>().await;
        }
        if read.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(rest) = text.strip_prefix("JPARM DIALSTRING ") {
            cut = plan.lock().unwrap().remove(rest.trim().trim_matches('"'));
            if cut == Some(Cut::InParameters) {
                to_server.write_all(&line[..line.len() / 2]).await.ok()?;
                return None;
            }
        }
        if text.trim() == "JSUBM" {
            match cut {
                Some(Cut::BeforeJsubm) => return None,
                Some(cut) => {
                    back.send_replace(Some(cut));
                }
                None => {}
            }
        }
        to_server.write_all(&line).await.ok()?;
    }
}
