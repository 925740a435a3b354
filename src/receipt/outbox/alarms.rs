//! Alarms leave: into the database, for `faxbridge status`, and by mail to those whom `alarm.mail_to` names.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, SinglePart};
use tokio::sync::watch;

use super::{Outbox, OutboxError, PAUSES};
use crate::alarm::{Alarm, Board, Notice, Said};
use crate::receipt::ReceiptError;
use crate::receipt::relay::{RelayError, from_nobody};

/// Between two looks while something is wrong, or was not long ago.
const LOOK: Duration = Duration::from_secs(1);
/// The same while all is well: whatever goes wrong tells.
const IDLE: Duration = Duration::from_secs(30);
/// At the end, for a mail that is leaving.
const FAREWELL: Duration = Duration::from_secs(5);

impl Outbox {
    /// Works until `shutdown` turns true.
    pub(super) async fn tell_alarms(&self, mut shutdown: watch::Receiver<bool>) {
        let rows = match self.store.alarms().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(error = %error, "which alarms were open before is not known: {error}");
                Vec::new()
            }
        };
        let mut board = Board::new(rows, self.clock.now());
        let mut kept = board.rows();
        let mut leaving = FuturesUnordered::new();
        let mut commits = self.store.commits();
        loop {
            self.look_around().await;
            let now = self.clock.now();
            board.observe(&self.alarms.open(), now);
            if leaving.is_empty()
                && !*shutdown.borrow()
                && let Some(notice) = board.due(&self.config.alarm.mail_to, now)
            {
                leaving.push(async move { (self.mail_notice(&notice).await, notice) });
            }
            let rows = board.rows();
            // What cannot be kept now is kept at the next look; the store tells by itself that it fails.
            if rows != kept && self.store.keep_alarms(rows.clone()).await.is_ok() {
                kept = rows;
            }
            if *shutdown.borrow() {
                break;
            }
            let pause = if kept.is_empty() && self.store.is_tidy() { IDLE } else { LOOK };
            tokio::select! {
                () = self.alarms.changed() => {}
                () = self.store.fared_ill() => {}
                () = crate::log::lost() => {}
                () = commits.made() => {}
                Some((result, notice)) = leaving.next(), if !leaving.is_empty() => {
                    self.note_mailed(&mut board, &notice, result);
                }
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.changed() => {}
            }
        }
        // A mail in hand may leave yet; whoever comes next should know.
        if let Ok(Some((result, notice))) = tokio::time::timeout(FAREWELL, leaving.next()).await {
            self.note_mailed(&mut board, &notice, result);
            if let Err(error) = self.store.keep_alarms(board.rows()).await {
                tracing::warn!(error = %error, "that an alarm was mailed could not be noted: {error}");
            }
        }
    }

    /// Raises and clears the alarms of those that have no clock and no alarms of their own.
    async fn look_around(&self) {
        let now = self.clock.now();
        for (alarm, trouble) in [(Alarm::Log, crate::log::trouble()), (Alarm::Store, self.store.tend().await)]
        {
            match trouble {
                Some(cause) => self.alarms.raise(alarm, cause, now),
                None => self.alarms.clear(&alarm),
            }
        }
    }

    /// Tells how the relay fares, from what came of a mail.
    pub(super) fn note_relay(&self, result: &Result<(), RelayError>) {
        match result {
            Err(error) if error.of_relay => {
                let cause = format!("no mail leaves: {error}. `faxbridge check` tries it again");
                self.alarms.raise(Alarm::Relay, cause, self.clock.now());
            }
            // It took the mail, or spoke about this very one.
            _ => self.alarms.clear(&Alarm::Relay),
        }
    }

    fn note_mailed(&self, board: &mut Board, notice: &Notice, result: Result<(), OutboxError>) {
        let (now, alarm) = (self.clock.now(), &notice.alarm);
        match result {
            Ok(()) => {
                tracing::info!(alarm = %alarm, "alarm {alarm} was mailed");
                board.settled(notice, now);
            }
            Err(trouble) if trouble.is_permanent() => {
                tracing::error!(alarm = %alarm, "an address of alarm.mail_to hears nothing of alarm {alarm}: {trouble}");
                board.settled(notice, now);
            }
            Err(trouble) => {
                tracing::warn!(alarm = %alarm, "the mail about alarm {alarm} has not left yet: {trouble}");
                let rung = usize::try_from(notice.tries).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
                let pause = SignedDuration::from_secs(PAUSES.get(rung).copied().unwrap_or(3600));
                board.postponed(notice, now.saturating_add(pause).unwrap_or(Timestamp::MAX));
            }
        }
    }

    async fn mail_notice(&self, notice: &Notice) -> Result<(), OutboxError> {
        let (Some(section), Some((relay, host))) = (&self.config.receipt, &self.relay) else {
            return Err(OutboxError::Given("the configuration has no [receipt] section".into()));
        };
        let organization = &self.config.organization;
        let zone = jiff::tz::TimeZone::get(&organization.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
        let at = self.clock.now();
        let mail = compose(notice, &section.from, host, &organization.name, &zone, at)?;
        let result = relay.send(&notice.address, &self.signed(mail)?).await;
        self.note_relay(&result);
        Ok(result?)
    }
}

/// The mail that says `notice`.
fn compose(
    notice: &Notice,
    from: &str,
    host: &str,
    organization: &str,
    zone: &jiff::tz::TimeZone,
    at: Timestamp,
) -> Result<Vec<u8>, ReceiptError> {
    let from: Mailbox = from.parse().map_err(|_| ReceiptError::Address("From"))?;
    let to: lettre::Address = notice.address.parse().map_err(|_| ReceiptError::Address("alarm"))?;
    let time = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
    // Names are the configuration's, and may be any text.
    let alarm = notice.alarm.to_string().replace(char::is_control, " ");
    let cause = &notice.cause;
    let since = time(notice.since);
    let (subject, text) = match notice.said {
        Said::Open => (
            format!("faxbridge alarm: {alarm}"),
            format!(
                "faxbridge of {organization} needs somebody. Since {since}:\n\n{alarm}: {cause}\n\n`faxbridge status` shows how it \
                 is at this moment. One mail more comes when this is over.\n"
            ),
        ),
        Said::Over => (
            format!("faxbridge alarm is over: {alarm}"),
            format!(
                "faxbridge of {organization}: this is over since {}. It began at {since}.\n\n{alarm}: {cause}\n",
                time(notice.over_at.unwrap_or(at))
            ),
        ),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let stem: String = alarm.chars().map(plain).collect();
    let said = if notice.said == Said::Open { "open" } else { "over" };
    let message_id = format!("<alarm.{stem}.{}.{said}@{host}>", notice.since.as_millisecond());
    let message = Message::builder()
        .from(from)
        .to(Mailbox::new(None, to.clone()))
        .date(at.into())
        .subject(subject)
        .raw_header(header("Message-ID", &message_id))
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        .raw_header(header("X-Faxbridge", "alarm"))
        .envelope(from_nobody(&to)?)
        .singlepart(SinglePart::plain(text))?;
    Ok(message.formatted())
}

/// A header whose value is known to be one line of ASCII.
fn header(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_says_what_is_wrong_and_that_it_is_over() {
        let since = Timestamp::from_second(1_796_000_000).unwrap();
        let mut notice = Notice {
            alarm: Alarm::Provider("m\u{e4}in \r\nX: y".into()),
            cause: "the token is refused; mend provider.main.token".into(),
            since,
            over_at: None,
            said: Said::Open,
            address: "admin@clinic.example".into(),
            tries: 0,
        };
        let zone = jiff::tz::TimeZone::UTC;
        let mail = |notice: &Notice| {
            let mail =
                compose(notice, "fax@clinic.example", "clinic.example", "Lakeside", &zone, since).unwrap();
            String::from_utf8(mail).unwrap()
        };
        let open = mail(&notice);
        assert!(
            open.contains("Message-ID: <alarm.provider.m-in---X--y.1796000000000.open@clinic.example>\r\n"),
            "{open}"
        );
        assert!(!open.contains("\nX: y"), "{open}");
        let parsed = mail_parser::MessageParser::default().parse(open.as_bytes()).unwrap().into_owned();
        assert!(parsed.body_text(0).unwrap().contains("the token is refused; mend provider.main.token"));
        notice.said = Said::Over;
        notice.over_at = Some(since);
        assert!(mail(&notice).contains("alarm is over"));
    }
}
