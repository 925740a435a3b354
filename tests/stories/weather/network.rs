//! Relays and addresses as networks have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::support::sink::Sink;
use crate::support::smtp::{self, Session};
use crate::support::stage::BASE;
use crate::support::{Stage, documents};

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.1", "::1"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
"#;

const JANE: &str = "jane@clinic.example";
const TO: &str = "mercy-radiology@fax.clinic.example";

fn letter(n: u32) -> Vec<u8> {
    let id = format!("<{n}@clinic.example>");
    documents::mail(JANE, TO, &id, "Labs", &[("l.pdf", &documents::pdf("l", 1))])
}

/// A stage whose relay has moods.
async fn stage() -> Stage {
    let mut stage = Stage::new(CONFIG).await;
    stage.sink = Sink::of("tests/stories/weather/relay.py", &stage.path("relay"), &[]).await;
    stage.configure(&format!("{BASE}{CONFIG}"));
    stage.verified(&[("mercy-radiology", "+12125550199")]).await;
    stage
}

fn mood(stage: &Stage, mood: &str) {
    std::fs::write(stage.path("relay/mood"), mood).unwrap();
}

/// What a relay says to everybody is no word on one receipt: it waits, and leaves when the relay is well again.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_turns_everybody_away_is_tried_again() {
    let mut stage = stage().await;
    for (n, what, told) in [
        (1, "banner", "the relay turns us away (554 5.7.1)"),
        (2, "null", "the relay refuses mail without an envelope sender (501 5.1.7)"),
        (3, "grey", "the relay refused the receipt for now (451 4.7.1)"),
    ] {
        mood(&stage, what);
        if n == 1 {
            stage.start().await;
        }
        smtp::send(stage.smtp(), JANE, &[TO], &letter(n)).await.unwrap();
        stage.until(told, async || stage.log().contains(told).then_some(())).await;
        assert!(stage.answers(&format!("{n}@clinic.example")).is_empty());
        mood(&stage, "good");
        let receipt = stage.final_receipt(&format!("<{n}@clinic.example>")).await;
        assert_eq!(receipt.envelope_from, "<>");
    }
}

/// A relay that takes no null sender is found out by `check`, and can be given an address.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_null_senders_is_told_by_check_and_gets_a_bounce_address() {
    let mut stage = stage().await;
    mood(&stage, "null");
    let checked = stage.command("check", &[]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for part in
        ["receipt.relay", "refuses mail without an envelope sender (501 5.1.7)", "set receipt.bounce_from"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let base = BASE.replace("[receipt]\n", "[receipt]\nbounce_from = \"fax-bounces@clinic.example\"\n");
    stage.configure(&format!("{base}{CONFIG}"));
    let checked = stage.command("check", &[]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!said.contains("envelope sender"), "{said}");
    stage.start().await;
    smtp::send(stage.smtp(), JANE, &[TO], &letter(1)).await.unwrap();
    let receipt = stage.final_receipt("<1@clinic.example>").await;
    assert_eq!(receipt.envelope_from, "fax-bounces@clinic.example");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Both families on one port, each by a socket of its own or both by one; and IPv6 in what the configuration names.
#[tokio::test(flavor = "multi_thread")]
async fn both_families_are_served_however_they_are_written() {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (n, lists) in [
        (1, ["\"[::]:PORT\", \"0.0.0.0:PORT\"", "\"0.0.0.0:SFTP_PORT\", \"[::]:SFTP_PORT\""]),
        (3, ["\"[::]:PORT\"", "\"[::]:SFTP_PORT\""]),
    ] {
        let (port, sftp) = (free_port(), free_port());
        let config = CONFIG.replace("listen = [\"127.0.0.1:0\"]", &format!("listen = [{}]", lists[0]));
        let config = format!("{config}\n[sftp]\nlisten = [{}]\n", lists[1])
            .replace("SFTP_PORT", &sftp.to_string())
            .replace("PORT", &port.to_string());
        let mut stage = Stage::new(&config).await;
        stage.verified(&[("mercy-radiology", "+12125550199")]).await;
        let checked = stage.command("check", &[]).await;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(!said.contains("in use"), "{said}");
        stage.start().await;
        for (offset, address) in [(0, v4), (1, v6)] {
            let mut session = Session::connect(SocketAddr::new(address, port)).await.unwrap();
            session.send(JANE, &[TO], &letter(n + offset)).await.unwrap();
            stage.final_receipt(&format!("<{}@clinic.example>", n + offset)).await;
            let greeted = tokio::net::TcpStream::connect(SocketAddr::new(address, sftp)).await;
            assert!(greeted.is_ok(), "SFTP over {address}");
        }
    }
}
