use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::door::testing::{Rig, exchange, first, port, status, timeless};
use super::*;
use crate::clock::Clock;
use crate::job::state::Event;
use crate::job::{Cause, Outcome, Report};
use crate::vault::{MasterKey, Purpose};

const BASE: &str = "https://fax.example.com/documents";
const PATIENT: Limits = Limits {
    connections: 32,
    head: Duration::from_secs(60),
    stall: Duration::from_secs(60),
    whole: Duration::from_secs(60),
};

/// A host that listens, and Jobs whose documents it has.
struct Bench {
    rig: Rig,
    media: Media,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Bench {
    async fn new() -> Bench {
        let rig = Rig::new().await;
        let (address, stop) = start(&rig, PATIENT).await;
        let media = media(&rig);
        Bench { rig, media, address, _stop: stop }
    }

    /// Path of the URL for the first Attempt of `job`.
    fn path(&self, job: JobId) -> String {
        let url = self.media.url_for(&first(job), self.rig.clock.now());
        url.strip_prefix(BASE).unwrap().to_owned()
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        ask(self.address, method, path).await
    }

    /// The body, where there is one.
    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.ask("GET", path).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status(&answer) == "200").then(|| body.to_owned())
    }

    /// How often the ledger says that the document of `job` was fetched.
    async fn fetches(&self, job: JobId) -> usize {
        let history = self.rig.store.history(job).await.unwrap();
        history.iter().filter(|row| (row.actor.as_str(), row.event.as_str()) == ("media", "fetched")).count()
    }
}

fn media(rig: &Rig) -> Media {
    Media::new(&format!("{BASE}/"), rig.spool.vault().marker(Purpose::Media), SignedDuration::from_mins(30))
}

async fn start(rig: &Rig, limits: Limits) -> (SocketAddr, watch::Sender<bool>) {
    let clock = Arc::clone(&rig.clock) as SharedClock;
    let host = Host {
        media: media(rig),
        store: rig.store.clone(),
        spool: rig.spool.clone(),
        clock,
        alarms: Alarms::default(),
    };
    let (listener, address, stop, stopped) = port().await;
    tokio::spawn(host.serve_within(limits, listener, None, stopped));
    (address, stop)
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

fn document(bytes: usize) -> String {
    (0..bytes).map(|place| char::from(b'a' + (place % 23) as u8)).collect()
}

/// Larger than all buffers between the host and a client that takes nothing.
const LARGE: usize = 32 << 20;

#[test]
fn urls_say_what_they_are_for() {
    let marker = |byte| MasterKey::from_bytes(&[byte; 32]).unwrap().marker(Purpose::Media).unwrap();
    let media = Media::new(BASE, marker(7), SignedDuration::from_mins(30));
    let now = Timestamp::from_second(1000).unwrap();
    let url = media.url_for("0123456789abcdef-1", now);
    assert!(url.starts_with(&format!("{BASE}/media/0123456789abcdef-1.2800.")), "{url}");
    assert_eq!(url.strip_suffix(".pdf").unwrap().rsplit('.').next().unwrap().len(), 64);
    assert_eq!(
        url,
        Media::new(BASE, marker(7), SignedDuration::from_mins(30)).url_for("0123456789abcdef-1", now)
    );
    let path = url.strip_prefix(BASE).unwrap();
    let (job, attempt) = media.admits(path, now).unwrap();
    assert_eq!((job.as_str(), attempt), ("0123456789abcdef", 1));
    for (second, good) in [(999, true), (2799, true), (2800, false), (9999, false)] {
        assert_eq!(media.admits(path, Timestamp::from_second(second).unwrap()).is_some(), good, "{second}");
    }
    let other = Media::new(BASE, marker(8), SignedDuration::from_mins(30));
    assert_eq!(other.admits(path, now), None);
    assert_eq!(media.url_for("x", Timestamp::MAX).len(), BASE.len() + 7 + 2 + 13 + 64 + 4, "no overflow");
}

#[tokio::test]
async fn a_document_is_handed_out_for_a_while_after_it_was_fetched_whole() {
    let bench = Bench::new().await;
    for (n, bytes) in [(1, 1), (2, 65_536), (3, 300_000), (4, 1 << 20)] {
        let paper = document(bytes);
        let job = bench.rig.sending(n, paper.as_bytes()).await;
        let path = bench.path(job);
        // A look at the head is no delivery.
        let head = bench.ask("HEAD", &path).await;
        assert_eq!(timeless(&head).lines().next(), Some("HTTP/1.1 200 OK"));
        for line in [
            &format!("content-length: {bytes}"),
            "content-type: application/pdf",
            "accept-ranges: bytes",
            "cache-control: no-store",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is not in {head}");
        }
        assert!(head.ends_with("\r\n\r\n") && !head.contains("disposition"));
        let answer = bench.ask("GET", &path).await;
        let (got, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(timeless(got), timeless(head.trim_end()));
        assert!(body == paper, "{bytes} bytes are not what was put in");
        assert_eq!(bench.fetches(job).await, 1);
        // A second machine of the provider's, as after a scan of what the first one got.
        bench.rig.clock.forward(9 * 60);
        assert_eq!(bench.get(&path).await.as_deref(), Some(paper.as_str()));
        assert_eq!(bench.fetches(job).await, 1, "noted once");
        bench.rig.clock.forward(60);
        for method in ["GET", "HEAD"] {
            assert_eq!(status(&bench.ask(method, &path).await), "404", "{method}");
        }
        // A later URL for the same Attempt is no way around that.
        bench.rig.clock.forward(1);
        assert_eq!(bench.get(&bench.path(job)).await, None);
        // Nor is another host, as after a restart.
        let (again, _stop) = start(&bench.rig, PATIENT).await;
        assert_eq!(status(&ask(again, "GET", &path).await), "404");
    }
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_the_same() {
    let bench = Bench::new().await;
    let job = bench.rig.sending(1, b"%PDF-").await;
    let nothing = timeless(&bench.ask("GET", "/").await);
    assert_eq!(status(&nothing), "404");
    let right = bench.path(job);
    let (pass, mark) = right.strip_suffix(".pdf").unwrap().rsplit_once('.').unwrap();
    let (start, expiry) = pass.rsplit_once('.').unwrap();
    let name = right.strip_prefix("/media/").unwrap();
    let later = expiry.parse::<i64>().unwrap() + 1;
    let last = if mark.ends_with('0') { '1' } else { '0' };
    for path in [
        "/media",
        "/media/",
        "/media/..",
        "/media/../data/faxbridge.db",
        &format!("{pass}..pdf"),
        &format!("{pass}.{}.pdf", "0".repeat(64)),
        &format!("{pass}.{}{last}.pdf", &mark[..63]),
        &format!("{start}.{later}.{mark}.pdf"),
        &format!("{}2.{expiry}.{mark}.pdf", start.strip_suffix('1').unwrap()),
        &format!("{start}.{mark}.pdf"),
        &format!("/media/.{expiry}.{mark}.pdf"),
        &format!("{right}.pdf"),
        &format!("{pass}.{mark}"),
        &format!("{pass}.{mark}.PDF"),
        &format!("{pass}.{mark}.tif"),
        &format!("{right}/"),
        &format!("{right}?"),
        &format!("{right}?x=1"),
        &format!("{right}%00"),
        &format!("/{right}"),
        &format!("/x/..{right}"),
        &format!("/media//{name}"),
        &format!("/media/./{name}"),
        &format!("/media%2F{name}"),
        &format!("/media/{}", name.replace('-', "%2D")),
        &format!("/media/{}", name.to_uppercase()),
        // No such Job, with a good mark.
        &bench.path(JobId::new(Timestamp::UNIX_EPOCH, 5)),
    ] {
        let answer = bench.ask("GET", path).await;
        assert_eq!(timeless(&answer), nothing, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        assert_eq!(timeless(&bench.ask(method, &right).await), nothing, "{method}");
    }
    bench.rig.clock.forward(30 * 60);
    assert_eq!(timeless(&bench.ask("GET", &right).await), nothing, "expired");
    assert_eq!(bench.fetches(job).await, 0);
    assert_eq!(bench.get(&bench.path(job)).await.as_deref(), Some("%PDF-"), "none of that used it up");
}

#[tokio::test]
async fn only_while_its_attempt_is_open_and_the_last() {
    let bench = Bench::new().await;
    let job = bench.rig.sending(1, b"%PDF-").await;
    let path = bench.path(job);
    bench.rig.step(job, Event::Ended { report: Report::bare(Outcome::Retry(Cause::Busy)), wait: None }).await;
    assert_eq!(bench.get(&path).await, None, "it waits for its next try");
    bench.rig.step(job, Event::Claimed { attempt: 2 }).await;
    assert_eq!(bench.get(&path).await, None, "another attempt is open");

    let unclear = bench.rig.sending(2, b"%PDF-").await;
    bench.rig.step(unclear, Event::Lost).await;
    assert_eq!(bench.get(&bench.path(unclear)).await.as_deref(), Some("%PDF-"), "it may have been taken");
    let taken = bench.rig.sending(3, b"%PDF-").await;
    bench.rig.step(taken, Event::Taken { provider_ref: "p".into() }).await;
    assert_eq!(bench.get(&bench.path(taken)).await.as_deref(), Some("%PDF-"));
    let ended = bench.rig.sending(4, b"%PDF-").await;
    bench.rig.step(ended, Event::Ended { report: Report::bare(Outcome::Delivered), wait: None }).await;
    assert_eq!(bench.get(&bench.path(ended)).await, None);
}

#[tokio::test]
async fn only_so_many_at_once_are_served_and_a_broken_transfer_may_be_repeated() {
    let bench = Bench::new().await;
    let paper = document(LARGE);
    let job = bench.rig.sending(1, paper.as_bytes()).await;
    let path = bench.path(job);
    let mut slow = Vec::new();
    for _ in 0..AT_ONCE {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut begin = [0; 1000];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(status(std::str::from_utf8(&begin).unwrap()), "200");
        slow.push(stream);
    }
    assert_eq!(bench.get(&path).await, None, "it is on its way too often");
    assert_eq!(status(&bench.ask("HEAD", &path).await), "200", "a look does not disturb it");
    drop(slow);
    let again = loop {
        // The host finds out when it writes next.
        if let Some(again) = bench.get(&path).await {
            break again;
        }
        tokio::task::yield_now().await;
    };
    assert!(again == paper);
    assert_eq!(bench.fetches(job).await, 1);
}

#[tokio::test]
async fn who_stands_still_is_cut_off() {
    let bench = Bench::new().await;
    let limits = Limits { stall: Duration::from_millis(100), ..PATIENT };
    let (address, _stop) = start(&bench.rig, limits).await;
    let paper = document(LARGE);
    let job = bench.rig.sending(1, paper.as_bytes()).await;
    let mut still = TcpStream::connect(address).await.unwrap();
    still.write_all(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", bench.path(job)).as_bytes()).await.unwrap();
    let cut_off = loop {
        let answer = ask(address, "GET", &bench.path(job)).await;
        if status(&answer) == "200" {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert!(cut_off.ends_with(&paper), "the next one gets it");
    drop(still);
}

#[tokio::test]
async fn a_document_that_was_altered_does_not_go_out_whole() {
    let bench = Bench::new().await;
    let paper = document(300_000);
    let job = bench.rig.sending(1, paper.as_bytes()).await;
    let name = bench.rig.store.job(job).await.unwrap().unwrap().packet.unwrap().document.name;
    let file = bench.rig.document(&name);
    let mut sealed = std::fs::read(&file).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    std::fs::write(&file, sealed).unwrap();
    let answer = bench.ask("GET", &bench.path(job)).await;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(body.len() < paper.len() && paper.starts_with(body), "{} bytes", body.len());
    assert_eq!(bench.fetches(job).await, 0);
}

#[tokio::test]
async fn a_probe_for_the_first_bytes_takes_nothing_away() {
    let bench = Bench::new().await;
    let paper = document(300_000);
    let job = bench.rig.sending(1, paper.as_bytes()).await;
    let path = bench.path(job);
    let ask = async |method: &str, range: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nRange: {range}\r\n\r\n");
        exchange(bench.address, &request).await
    };
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-1023", 0, 1024),
        ("bytes=65530-70000", 65530, 70001),
        ("bytes=299999-", 299_999, 300_000),
        ("bytes=-5", 299_995, 300_000),
        ("bytes=1-999999999999", 1, 300_000),
    ] {
        let answer = ask("GET", range).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(status(head), "206", "{range}");
        let length = to - from;
        for line in
            [format!("content-range: bytes {from}-{}/300000", to - 1), format!("content-length: {length}")]
        {
            assert!(head.contains(&format!("\r\n{line}")), "{range}: {line} is not in {head}");
        }
        assert!(body == &paper[from..to], "{range}");
        assert_eq!(status(&ask("HEAD", range).await), "206", "{range}");
    }
    for range in ["bytes=300000-", "bytes=-0"] {
        let answer = ask("GET", range).await;
        assert_eq!(status(&answer), "416", "{range}");
        assert!(answer.contains("\r\ncontent-range: bytes */300000"), "{answer}");
    }
    assert_eq!(bench.fetches(job).await, 0, "no part is the whole");
    // What is not understood gets the whole.
    for range in ["bytes=0-1,5-9", "lines=0-1", "bytes=5-1", "bytes=a-b", "bytes"] {
        let answer = ask("GET", range).await;
        assert_eq!(status(&answer), "200", "{range}");
        assert!(answer.ends_with(&paper), "{range}");
    }
    assert_eq!(bench.fetches(job).await, 1);
    assert_eq!(status(&ask("GET", "bytes=0-").await), "206", "a part that is the whole");
}
