use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::door::testing::{Rig, exchange, first, port, rest, status, timeless};
use super::super::{AskError, Capabilities, CheckFault, News, Order, Status, SubmitError, Taken};
use super::*;
use crate::clock::Clock;
use crate::job::state::Event;
use crate::job::{JobId, Outcome, Report};
use crate::store::within_process;
use crate::vault::{MasterKey, Purpose};

const BASE: &str = "https://fax.example.com/webhook";
const PATIENT: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(60),
    stall: Duration::from_secs(60),
    whole: Duration::from_secs(60),
};
/// How long it is looked whether something happens that must not.
const SHORT: Duration = Duration::from_millis(100);

/// A provider that does not sign. It remembers how it was called.
#[derive(Default)]
struct Unsigned(Mutex<Vec<(String, Option<String>, usize)>>);

#[async_trait]
impl Provider for Unsigned {
    fn capabilities(&self) -> Capabilities {
        Capabilities::LEAST
    }
    async fn submit(&self, _: Order<'_>) -> Result<Taken, SubmitError> {
        unreachable!()
    }
    async fn status(&self, _: &str) -> Result<Status, AskError> {
        unreachable!()
    }
    fn read_webhook(&self, hook: &Hook<'_>, _: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        let called = (hook.url.to_owned(), hook.reference.map(str::to_owned), hook.body.len());
        self.0.lock().unwrap().push(called);
        hook.hint(None)
    }
    async fn check(&self) -> Result<(), CheckFault> {
        unreachable!()
    }
}

/// A desk that listens, for an unsigned provider `sim`, a signed one `signed`, and one with an odd name.
struct Bench {
    rig: Rig,
    provider: Arc<Unsigned>,
    hooks: Hooks,
    wake: Arc<dyn Wake>,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Bench {
    async fn new() -> Bench {
        Bench::with(BODY_TIME).await
    }

    async fn with(body_time: Duration) -> Bench {
        let rig = Rig::new().await;
        let hooks = Hooks::new(&format!("{BASE}/"), rig.spool.vault().marker(Purpose::Webhook));
        let (provider, wake) = (Arc::new(Unsigned::default()), within_process());
        let simulator = "kind = \"simulator\"\nurl = \"http://127.0.0.1:9\"\ntoken = \"env:T\"";
        let signed = Arc::from(super::super::testing::adapter(simulator, "token").unwrap());
        let providers = Providers::from([
            ("sim".to_owned(), Arc::clone(&provider) as Arc<dyn Provider>),
            ("my fax/1".to_owned(), Arc::clone(&provider) as Arc<dyn Provider>),
            ("signed".to_owned(), signed),
        ]);
        let (store, clock) = (rig.store.clone(), Arc::clone(&rig.clock) as SharedClock);
        let alarms = Alarms::default();
        let desk = WebhookReceiver {
            hooks: hooks.clone(),
            providers,
            store,
            clock,
            alarms,
            wake: Arc::clone(&wake),
        };
        let (listener, address, stop, stopped) = port().await;
        tokio::spawn(desk.serve_within(PATIENT, body_time, listener, None, stopped));
        Bench { rig, provider, hooks, wake, address, _stop: stop }
    }

    /// Path and query of the URL that `provider` was given.
    fn path(&self, provider: &str, reference: Option<&str>) -> String {
        self.hooks.url_for(provider, reference).strip_prefix(BASE).unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        exchange(self.address, &(head + body)).await
    }

    /// What a webhook about `job` is answered with.
    async fn tell(&self, job: JobId) -> String {
        let answer = self.post(&self.path("sim", Some(&first(job))), "{}").await;
        status(&answer).to_owned()
    }

    /// Whether the worker has been woken since it was asked last.
    async fn woken(&self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.wake.woken()).await.is_ok()
    }
}

#[test]
fn urls_are_the_same_in_every_process() {
    let marker = |byte| MasterKey::from_bytes(&[byte; 32]).unwrap().marker(Purpose::Webhook).unwrap();
    let hooks = Hooks::new(BASE, marker(7));
    let url = hooks.url_for("main", Some("0123456789abcdef-1"));
    let token = "d6e331bb26efbed568ac3e9681f294f73809462aa281c96148cfe0c8bc954594";
    assert_eq!(url, format!("{BASE}/hooks/main/{token}?ref=0123456789abcdef-1"));
    assert_eq!(hooks.url_for("main", None), format!("{BASE}/hooks/main/{token}"));
    assert_ne!(Hooks::new(BASE, marker(8)).url_for("main", None), hooks.url_for("main", None));
    let odd = hooks.url_for("my fax/1", None);
    assert!(odd.starts_with(&format!("{BASE}/hooks/my%20fax%2F1/")), "{odd}");
    assert_eq!(hooks.admits(odd.strip_prefix(BASE).unwrap()), Some("my%20fax%2F1"));
}

#[test]
fn references_in_queries() {
    for (query, reference) in [
        ("ref=0123456789abcdef-1", Some("0123456789abcdef-1")),
        ("a=b&ref=x-1&ref=y-1", Some("x-1")),
        ("", None),
        ("ref", None),
        ("ref=", None),
        ("xref=x-1", None),
        ("ref=x-1%00", None),
        ("ref=../x", None),
    ] {
        assert_eq!(reference_in(query), reference, "{query}");
    }
    assert_eq!(reference_in(&format!("ref={}", "x".repeat(65))), None);
}

#[tokio::test]
async fn without_the_right_token_there_is_nothing() {
    let bench = Bench::new().await;
    let nothing = timeless(&bench.post("/", "").await);
    assert_eq!(status(&nothing), "404");
    let (right, other) = (bench.path("sim", None), bench.path("signed", None));
    let token = right.rsplit('/').next().unwrap();
    let stranger = bench.path("stranger", None);
    for path in [
        "/hooks",
        "/hooks/",
        "/hooks/sim",
        "/hooks/sim/",
        &format!("/hooks/sim/{}", "0".repeat(64)),
        &format!("/hooks/sim/{}", other.rsplit('/').next().unwrap()),
        &format!("/hooks/sim/{}", token.to_uppercase()),
        &format!("/hooks/sim/{}", &token[..63]),
        &format!("/hooks/sim/{token}0"),
        &format!("/hooks/sim/{token}/"),
        &format!("/hooks//sim/{token}"),
        &format!("//hooks/sim/{token}"),
        &format!("/hooks/../hooks/sim/{token}"),
        &format!("/hooks/s%69m/{token}"),
        &format!("/hooks%2Fsim/{token}"),
        &format!("/webhook/hooks/sim/{token}"),
        &format!("/hooks/{token}/sim"),
        &format!("/hooks/?{token}"),
        // Its mark is right, and nobody is called that.
        &stranger,
    ] {
        assert_eq!(timeless(&bench.post(path, "{}").await), nothing, "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = exchange(bench.address, &format!("{method} {right} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(timeless(&answer), nothing, "{method}");
    }
    assert!(bench.provider.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_token_is_checked_before_a_byte_of_the_body_is_read() {
    let bench = Bench::new().await;
    let ask = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    };
    let answer = exchange(bench.address, &ask(&format!("/hooks/sim/{}", "0".repeat(64)))).await;
    assert_eq!(status(&answer), "404", "{answer}");
    // Who is let in is asked for the body.
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(ask(&bench.path("sim", Some("x-1"))).as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(go_on, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.unwrap();
    assert_eq!(status(&rest(&mut stream).await), "204");
}

#[tokio::test]
async fn the_adapter_gets_the_url_as_the_provider_was_given_it() {
    let bench = Bench::new().await;
    for (path, reference) in [
        (bench.path("sim", Some("x-1")), Some("x-1")),
        (bench.path("sim", Some("x-1")) + "&extra=%41", Some("x-1")),
        (bench.path("my fax/1", Some("x-1")), Some("x-1")),
        (bench.path("sim", None), None),
    ] {
        let answer = bench.post(&path, "12345").await;
        assert_eq!(status(&answer), if reference.is_some() { "204" } else { "400" }, "{path}");
        let called = bench.provider.0.lock().unwrap().pop().unwrap();
        assert_eq!(called, (format!("{BASE}{path}"), reference.map(str::to_owned), 5));
    }
}

#[tokio::test]
async fn large_bodies() {
    let bench = Bench::new().await;
    let path = bench.path("sim", Some("x-1"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{path}", bench.address);
    let mebibytes = |n: usize| vec![b'x'; n << 20];
    let announced = async |n| client.post(&url).body(mebibytes(n)).send().await.unwrap().status().as_u16();
    let unannounced = async |n| {
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(
            (0..n).map(move |_| Ok::<_, std::io::Error>(mebibytes(1))),
        ));
        client.post(&url).body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!((announced(10).await, unannounced(10).await), (204, 204));
    assert_eq!((announced(17).await, unannounced(17).await), (413, 413));
    assert_eq!(bench.provider.0.lock().unwrap().len(), 2, "what is too large is not looked at");
}

#[tokio::test]
async fn a_slow_body_is_given_up_and_a_broken_one_too() {
    let bench = Bench::with(SHORT).await;
    let path = bench.path("sim", Some("x-1"));
    let begun = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
    assert_eq!(status(&exchange(bench.address, &begun).await), "408");
    let broken =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n");
    assert_eq!(status(&exchange(bench.address, &broken).await), "400");
    assert!(bench.provider.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_so_many_bodies_are_read_at_once() {
    let bench = Bench::new().await;
    let path = bench.path("sim", Some("x-1"));
    let begun =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    let mut slow = Vec::new();
    for _ in 0..BODIES {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        // It is asked for its body, so it has its place.
        stream.read_exact(&mut [0; 25]).await.unwrap();
        slow.push(stream);
    }
    let mut further = tokio::spawn({
        let (address, path) = (bench.address, path.clone());
        async move {
            let whole = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}");
            exchange(address, &whole).await
        }
    });
    assert!(timeout(SHORT, &mut further).await.is_err(), "it is read beside all others");
    // Who has no token does not need a place to be turned away.
    assert_eq!(status(&bench.post("/hooks/sim/0", "{}").await), "404");
    slow.pop();
    assert_eq!(status(&further.await.unwrap()), "204");
}

#[tokio::test]
async fn news_before_the_answer_are_looked_at_after_it() {
    let bench = Bench::new().await;
    let job = bench.rig.sending(1, b"%PDF-").await;
    bench.rig.clock.forward(1);
    assert_eq!(bench.tell(job).await, "204");
    bench.rig.step(job, Event::Taken { provider_ref: "p1".into() }).await;
    assert_eq!(bench.rig.next_wake().await, Some(bench.rig.clock.now()));
}

#[tokio::test]
async fn news_come_twice_and_of_faxes_that_nobody_knows() {
    let bench = Bench::new().await;
    let job = bench.rig.sending(1, b"%PDF-").await;
    bench.rig.step(job, Event::Taken { provider_ref: "p1".into() }).await;
    assert!(bench.rig.next_wake().await > Some(bench.rig.clock.now()));
    for _ in 0..2 {
        assert_eq!(bench.tell(job).await, "204");
        assert_eq!(bench.rig.next_wake().await, Some(bench.rig.clock.now()));
        assert!(bench.woken().await);
    }
    // Unknown, and no reference at all: taken, so that they are not repeated, and nobody is woken.
    assert_eq!(bench.tell(JobId::new(bench.rig.clock.now(), 99)).await, "204");
    assert_eq!(status(&bench.post(&bench.path("sim", Some("x")), "{}").await), "204");
    // Ended.
    let report = Report::bare(Outcome::Delivered);
    bench.rig.step(job, Event::Ended { report, wait: None }).await;
    assert_eq!(bench.tell(job).await, "204");
    assert_eq!(bench.rig.next_wake().await, None);
    assert!(!bench.woken().await);
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let bench = Bench::new().await;
    let job = bench.rig.sending(1, b"%PDF-").await;
    let path = bench.path("signed", Some(&first(job)));
    assert_eq!(status(&bench.post(&path, "{}").await), "403");
    assert!(!bench.woken().await);
}
