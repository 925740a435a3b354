use std::path::Path;

use axum::body::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::testing::{exchange, port, rest, status};
use super::*;

const CERTIFICATE: &str = "fixtures/tls/fax.example.com.pem";
const KEY: &str = "fixtures/tls/fax.example.com.key";
const AUTHORITY: &str = "fixtures/tls/authority.pem";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const PATIENT: Limits = Limits {
    connections: 4,
    head: Duration::from_secs(60),
    stall: Duration::from_secs(60),
    whole: Duration::from_secs(60),
};
/// No client of these tests needs longer, and none waits that long where all is well.
const SHORT: Duration = Duration::from_millis(100);

async fn yes(_: Request) -> DoorAnswer {
    "yes".into_response().into()
}

fn tls() -> Option<Arc<ServerConfig>> {
    Some(crate::intake::smtp::server_config(Path::new(CERTIFICATE), Path::new(KEY)).unwrap())
}

/// A door with `handler` behind it.
async fn open<H, F>(limits: Limits, handler: H) -> (std::net::SocketAddr, watch::Sender<bool>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = DoorAnswer> + Send + 'static,
{
    let (listener, address, stop, stopped) = port().await;
    tokio::spawn(
        Door {
            name: "the door",
            key: "webhook.listen",
            alarms: Alarms::default(),
            tls: None,
            limits,
            handler,
        }
        .serve(listener, stopped),
    );
    (address, stop)
}

#[tokio::test]
async fn a_request_is_answered_and_the_connection_closed() {
    let (address, _stop) = open(PATIENT, yes).await;
    let answer = exchange(address, GET).await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\nyes"), "{answer}");
    // The second one on the same connection is not.
    let answer = exchange(address, &format!("{GET}{GET}")).await;
    assert_eq!(answer.matches("yes").count(), 1, "{answer}");
}

#[tokio::test]
async fn tls_for_those_who_speak_it() {
    let (listener, address, _stop, stopped) = port().await;
    let limits = Limits { head: SHORT, ..PATIENT };
    tokio::spawn(
        Door {
            name: "the door",
            key: "webhook.listen",
            alarms: Alarms::default(),
            tls: tls(),
            limits,
            handler: yes,
        }
        .serve(listener, stopped),
    );
    // One that says nothing is closed.
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    // One that speaks in clear gets no answer in clear.
    assert!(!exchange(address, GET).await.contains("HTTP"));
    let authority = reqwest::Certificate::from_pem(&std::fs::read(AUTHORITY).unwrap()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    let answer = client.get(format!("https://{address}/")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "yes");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed() {
    let (address, _stop) = open(Limits { head: SHORT, ..PATIENT }, yes).await;
    for begun in ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\nX: "] {
        assert_eq!(exchange(address, begun).await, "", "{begun}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * BUFFER));
    assert_eq!(status(&exchange(address, &long).await), "431");
}

#[tokio::test]
async fn further_ones_wait_for_a_seat() {
    let (address, _stop) = open(Limits { connections: 2, ..PATIENT }, yes).await;
    let seated = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let mut third = TcpStream::connect(address).await.unwrap();
    third.write_all(GET.as_bytes()).await.unwrap();
    let mut first = [0];
    assert!(timeout(SHORT, third.read(&mut first)).await.is_err(), "it is served beside two others");
    drop(seated);
    assert_eq!(third.read(&mut first).await.unwrap(), 1);
    // Silent ones do not keep their seats.
    let (address, _stop) = open(Limits { connections: 2, head: SHORT, ..PATIENT }, yes).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(status(&exchange(address, GET).await), "200");
}

/// An answer of 64 MiB, more than any buffer on the way takes; tells `done` when all of it was written.
fn endless(done: oneshot::Sender<()>) -> impl Fn(Request) -> std::future::Ready<DoorAnswer> {
    let done = Mutex::new(Some(done));
    move |_| {
        let pieces = stream::iter((0..1024).map(|_| io::Result::Ok(Bytes::from_static(&[b'x'; 65_536]))));
        let done = done.lock().unwrap().take();
        let answer = DoorAnswer::from(Body::from_stream(pieces).into_response());
        std::future::ready(answer.afterwards(async move {
            if let Some(done) = done {
                let _ = done.send(());
            }
        }))
    }
}

#[tokio::test]
async fn afterwards_comes_after_the_last_byte_and_only_then() {
    let (done, all_written) = oneshot::channel();
    let (address, _stop) = open(PATIENT, endless(done)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut all_written = std::pin::pin!(all_written);
    let mut piece = vec![0; 65_536];
    stream.read_exact(&mut piece).await.unwrap();
    assert!(futures_util::poll!(&mut all_written).is_pending());
    assert!(rest(&mut stream).await.len() > 63 << 20);
    all_written.await.unwrap();

    // One that goes away.
    let (done, all_written) = oneshot::channel();
    let (address, _stop) = open(PATIENT, endless(done)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.read_exact(&mut piece).await.unwrap();
    drop(stream);
    assert!(all_written.await.is_err());

    // One that stands still, and one that takes too long in all.
    for limits in [Limits { stall: SHORT, ..PATIENT }, Limits { whole: SHORT, ..PATIENT }] {
        let (done, all_written) = oneshot::channel();
        let (address, _stop) = open(limits, endless(done)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(timeout(PATIENT.whole / 2, all_written).await.unwrap().is_err());
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let (address, _stop) = open(PATIENT, async |_| StatusCode::NOT_FOUND.into()).await;
    for _ in 0..5 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://{address}/")).body(vec![0; 20 << 20]);
        assert_eq!(request.send().await.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn a_request_without_an_end_does_not_keep_it_from_stopping() {
    let (listener, address, stop, stopped) = port().await;
    let handler = async |request: Request| {
        let _ = axum::body::to_bytes(request.into_body(), 100).await;
        StatusCode::OK.into()
    };
    let served = tokio::spawn(
        Door {
            name: "the door",
            key: "webhook.listen",
            alarms: Alarms::default(),
            tls: None,
            limits: PATIENT,
            handler,
        }
        .serve(listener, stopped),
    );
    let mut endless = TcpStream::connect(address).await.unwrap();
    endless.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await.unwrap();
    // A whole exchange, so that the one before it is certainly served too.
    assert_eq!(status(&exchange(address, GET).await), "200");
    stop.send(true).unwrap();
    timeout(FAREWELL * 3, served).await.expect("it stops").unwrap();
    assert_eq!(rest(&mut endless).await, "");
}

/// Whoever takes all places that one address has does not keep others waiting.
#[tokio::test]
async fn one_address_has_a_quarter_of_the_places() {
    let door = Door {
        name: "the door",
        key: "webhook.listen",
        alarms: Alarms::default(),
        tls: tls(),
        limits: Limits { connections: 8, ..PATIENT },
        handler: yes,
    };
    let (gate, told) = (Gate::new(door.limits.most()), Tally::default());
    let enter = |address: &str| door.place(&gate, &told, address.parse().unwrap());
    let one: Vec<Seat> = (0..10).filter_map(|n| enter(&format!("2001:db8::{n}"))).collect();
    assert_eq!(one.len(), 2, "a quarter, however many addresses of one network");
    assert!(enter("192.0.2.1").is_some(), "another");
    let proxy: Vec<Seat> = (0..10).filter_map(|_| enter("127.0.0.1")).collect();
    assert_eq!(proxy.len(), 8, "a reverse proxy on this machine");
    drop(one);
    assert!(enter("2001:db8::1").is_some());
}
