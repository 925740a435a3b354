//! A wire that breaks once, after so many bytes of what the server says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// Leads to `port` of this machine; the first `times` connections end after `bytes` bytes. Returns its own port, and how often it cut.
pub(crate) async fn cutter(port: u16, bytes: usize, times: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                let up = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
                let limit = if counted.load(Ordering::SeqCst) < times { bytes as u64 } else { u64::MAX };
                let passed = copy(&mut from_server.take(limit), &mut to_client).await;
                if passed.is_ok_and(|passed| passed == limit) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                up.abort();
                let _ = to_client.shutdown().await;
            });
        }
    });
    (own, cuts)
}
