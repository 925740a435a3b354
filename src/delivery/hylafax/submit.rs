//! How a fax is handed over: the document, the job's number, its parameters, and JSUBM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::look::Handle;
use super::session::{Broken, Reply, Session, quoted};
use super::{Hylafax, Outside};
use crate::delivery::http::{cut, exactly, not_sent, unknown};
use crate::delivery::{Order, SubmitError, Taken};
use crate::job::{Cause, Outcome, Report};

/// Minutes that a job may wait for a free line before HylaFAX gives it up; a minute more for every page.
const WAITS_FOR_A_LINE: u32 = 60;

impl Hylafax {
    /// One fax, from the connection to the reply to JSUBM.
    pub(super) async fn hand_over(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let mut session = self.enter().await.map_err(|outside| match outside {
            Outside::Trouble(broken) => not_sent(Cause::ProviderTrouble, None, &broken.detail()),
            Outside::Shut { detail, .. } => not_sent(Cause::AccountTrouble, None, &detail),
        })?;
        let parameters = parameters(&order, &self.login);
        let (reference, keep) = (order.reference, order.keep);
        let file = upload(&mut session, order).await?;
        let job = new_job(&mut session).await?;
        let handle = Handle { job, reference: reference.to_owned() };
        let provider_ref = handle.to_string();
        // From here on a restarted process can ask for the job by its number. Before, there was nothing to ask for.
        keep.keep(&provider_ref).await.map_err(|error| {
            let detail = format!("the job's number could not be kept: {}", cut(&error));
            not_sent(Cause::ProviderTrouble, None, &detail)
        })?;
        for (name, value) in &parameters {
            let line = [b"JPARM ", name.as_bytes(), b" ", value].concat();
            expect(&session.command(name, &line).await?, name, &[213])?;
        }
        let line = format!("JPARM DOCUMENT {file}");
        expect(&session.command("DOCUMENT", line.as_bytes()).await?, "DOCUMENT", &[200])?;

        // From the first byte of this line on, it may have left.
        let answer = session.command("JSUBM", b"JSUBM").await.map_err(|broken| unknown(broken.detail()))?;
        match answer.code {
            200 => {
                session.quit().await;
                Ok(Taken { provider_ref })
            }
            450 | 460 => {
                // The scheduler was not reached, or said no. The job's file may be written, and rests there; that it can be
                // deleted confirms that it rests.
                let trouble = answer.describe("JSUBM");
                let deleted = session.command("JDELE", format!("JDELE {job}").as_bytes()).await;
                match deleted {
                    Ok(reply) if reply.code == 200 => {
                        session.quit().await;
                        Err(not_sent(Cause::ProviderTrouble, None, &trouble))
                    }
                    _ => Err(unknown(format!("{trouble}, and the job could not be deleted"))),
                }
            }
            500..=599 => Err(refusal(&answer, Cause::Unknown)),
            _ => Err(unknown(answer.describe("JSUBM"))),
        }
    }
}

/// Uploads the document; returns the server's name for it.
async fn upload(session: &mut Session, order: Order<'_>) -> Result<String, SubmitError> {
    for command in ["TZONE GMT", "TYPE I", "MODE S", "FORM PDF"] {
        expect(&session.command(command, command.as_bytes()).await?, command, &[200])?;
    }
    let data = session.data().await?;
    let started = session.command("STOT", b"STOT").await?;
    expect(&started, "STOT", &[125, 150])?;
    let file = file_name(started.text())
        .ok_or_else(|| not_sent(Cause::ProviderTrouble, None, "STOT: no name for the document"))?;
    let broke = Arc::new(AtomicBool::new(false));
    let document = exactly(order.document, order.bytes, Arc::clone(&broke));
    let stored = session.transfer(data, document).await;
    if broke.load(Ordering::Acquire) {
        let detail = "the document could not be read to its end";
        return Err(not_sent(Cause::ProviderTrouble, None, detail));
    }
    expect(&stored?, "STOT", &[226, 250])?;
    Ok(file)
}

/// Takes a job's number. `JOB DEFAULT` first: a new job inherits from the current one.
async fn new_job(session: &mut Session) -> Result<u32, SubmitError> {
    expect(&session.command("JOB DEFAULT", b"JOB DEFAULT").await?, "JOB DEFAULT", &[200])?;
    let reply = session.command("JNEW", b"JNEW").await?;
    // It answers 503 when it cannot make a file.
    if reply.code == 503 {
        return Err(not_sent(Cause::ProviderTrouble, None, &reply.describe("JNEW")));
    }
    expect(&reply, "JNEW", &[200])?;
    job_number(reply.text()).ok_or_else(|| not_sent(Cause::ProviderTrouble, None, "JNEW: no number"))
}

/// What a job is to be like.
fn parameters(order: &Order<'_>, login: &str) -> Vec<(&'static str, Vec<u8>)> {
    let number = quoted(order.number.as_str());
    let caller = order.caller.unwrap_or_default();
    let minutes = WAITS_FOR_A_LINE.saturating_add(order.pages).min(99 * 24 * 60);
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    let last = format!("{days:02}{hours:02}{:02}", minutes % 60);
    let (width, length): (&[u8], &[u8]) =
        if letter_paper(order) { (b"216", b"279") } else { (b"209", b"296") };
    let mut all = vec![
        ("FROMUSER", quoted(login)),
        ("FROMCOMPANY", quoted(order.header)),
        ("DIALSTRING", number.clone()),
        ("EXTERNAL", number),
        ("JOBINFO", quoted(order.reference)),
        // One call, and HylaFAX never calls again by itself.
        ("MAXDIALS", b"1".to_vec()),
        ("MAXTRIES", b"1".to_vec()),
        ("LASTTIME", last.into_bytes()),
        ("NOTIFY", quoted("none")),
        ("NOTIFYADDR", quoted("faxbridge@localhost")),
        // It stays in the done queue until faxqclean takes it, so that it can be asked for.
        ("DONEOP", quoted("default")),
        ("VRES", b"196".to_vec()),
        ("PAGEWIDTH", width.to_vec()),
        ("PAGELENGTH", length.to_vec()),
        ("PAGECHOP", quoted("none")),
        ("USETAGLINE", b"YES".to_vec()),
        ("TAGLINE", quoted(&tag_line(order.header, caller))),
    ];
    if !caller.is_empty() {
        all.push(("TSI", quoted(caller)));
    }
    all
}

/// Letter paper where the caller is in North America; by the number dialled where the caller is not known.
fn letter_paper(order: &Order<'_>) -> bool {
    order.caller.unwrap_or(order.number.as_str()).starts_with("+1")
}

/// The format of the header line: sender and number, date and time at the server, page. `|` parts its fields and `%` begins
/// what HylaFAX fills in, so neither may come from a name.
fn tag_line(header: &str, caller: &str) -> String {
    let name: String = header.chars().filter(|c| !matches!(c, '|' | '%')).take(60).collect();
    format!("{} {caller}|%Y-%m-%d %H:%M %Z|Page %%P of %%T", name.trim())
}

/// `FILE: /tmp/doc7.pdf (Opening new data connection).`, and only a name that can stand in a command as it is.
fn file_name(text: &str) -> Option<String> {
    let name = text.split_once("FILE: ")?.1.split(' ').next()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    (!name.is_empty() && name.len() <= 128 && name.bytes().all(plain)).then(|| name.to_owned())
}

/// `New job created: jobid: 7 groupid: 7.`
fn job_number(text: &str) -> Option<u32> {
    let rest = text.split_once("jobid: ")?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// What a reply other than the expected one says, before JSUBM: in any case nothing was sent.
fn expect(reply: &Reply, to: &str, codes: &[u16]) -> Result<(), SubmitError> {
    match reply.code {
        code if codes.contains(&code) => Ok(()),
        530 => Err(not_sent(Cause::AccountTrouble, None, &reply.describe(to))),
        // What STOT and DOCUMENT say about a document that they do not take.
        550 | 551 | 553 => Err(refusal(reply, Cause::DocumentRefused)),
        // No space.
        552 => Err(not_sent(Cause::ProviderTrouble, None, &reply.describe(to))),
        500..=599 => Err(refusal(reply, Cause::Unknown)),
        _ => Err(not_sent(Cause::ProviderTrouble, None, &reply.describe(to))),
    }
}

/// hfaxd's word that it does not take the order. Its text is not kept: it may repeat a parameter, and with it the number.
fn refusal(reply: &Reply, cause: Cause) -> SubmitError {
    SubmitError::Refused(Report {
        raw_code: Some(reply.code.to_string()),
        ..Report::bare(Outcome::of(cause))
    })
}

/// Before JSUBM, a broken connection is only that.
impl From<Broken> for SubmitError {
    fn from(broken: Broken) -> SubmitError {
        not_sent(Cause::ProviderTrouble, None, &broken.detail())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_numbers_are_read_from_replies() {
        let file = |text| file_name(text).unwrap_or_default();
        assert_eq!(file("FILE: /tmp/doc7.pdf (Opening new data connection)."), "/tmp/doc7.pdf");
        assert_eq!(file("FILE: /tmp/doc7.pdf"), "/tmp/doc7.pdf");
        for text in ["", "FILE: ", "FILE: a\"b", "FILE: a;b (x)", "Opening"] {
            assert_eq!(file(text), "", "{text}");
        }
        assert_eq!(job_number("New job created: jobid: 7 groupid: 7."), Some(7));
        assert_eq!(job_number("New job created: jobid: 4294967296 groupid: 7."), None);
        assert_eq!(job_number("New job created: jobid: x"), None);
    }

    #[test]
    fn the_header_line_takes_no_format_from_a_name() {
        assert_eq!(
            tag_line("Lakeside | 100%% Clinic", "+12125550101"),
            "Lakeside  100 Clinic +12125550101|%Y-%m-%d %H:%M %Z|Page %%P of %%T"
        );
    }

    #[test]
    fn what_a_reply_before_jsubm_means() {
        let table = [
            (200, "taken"),
            (421, "not sent provider_trouble"),
            (150, "not sent provider_trouble"),
            (450, "not sent provider_trouble"),
            (500, "refused unknown"),
            (503, "refused unknown"),
            (504, "refused unknown"),
            (530, "not sent account_trouble"),
            (550, "refused document_refused"),
            (552, "not sent provider_trouble"),
        ];
        for (code, want) in table {
            let reply = Reply { code, lines: vec!["x".into()] };
            let word = match expect(&reply, "JPARM", &[200]) {
                Ok(()) => "taken".to_owned(),
                Err(error) => crate::delivery::testing::word(&Err(error)),
            };
            assert_eq!(word, want, "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics(text in "(FILE: |jobid: )?.{0,60}") {
            let _ = (file_name(&text), job_number(&text));
        }
    }
}
