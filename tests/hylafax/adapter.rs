//! The adapter without a daemon around it.

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::delivery::{self, Keep, Order, Provider, Search, Secrets, Sought, SubmitError, Taken};
use faxbridge::job::FaxNumber;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use crate::letter::letter;

/// The adapter itself, without a daemon.
pub(crate) fn adapter(port: u16) -> Box<dyn Provider> {
    let keys = format!(
        "kind = \"hylafax\"\nurl = \"hylafax://127.0.0.1:{port}\"\nlogin = \"faxbridge\"\n\
         password = \"env:NEVER_READ\"\ntimeout = \"40 s\""
    );
    let secrets =
        Secrets { password: zeroize::Zeroizing::new("correct horse".to_owned()), ..Secrets::default() };
    delivery::build("office", &toml::from_str(&keys).unwrap(), &secrets).unwrap()
}

/// Hands over a fax of one page; returns what came of it, and the name that was kept.
pub(crate) async fn submit(
    office: &dyn Provider,
    number: &str,
    reference: &str,
) -> (Result<Taken, SubmitError>, Option<String>) {
    #[derive(Default)]
    struct Kept(std::sync::Mutex<Option<String>>);
    impl Keep for Kept {
        fn keep<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<(), String>> {
            *self.0.lock().unwrap() = Some(provider_ref.to_owned());
            Box::pin(std::future::ready(Ok(())))
        }
    }
    let document = letter(1);
    let number = FaxNumber::from_e164(number).unwrap();
    let kept = Kept::default();
    let order = Order {
        reference,
        number: &number,
        pages: 1,
        bytes: document.len() as u64,
        sha256: "",
        document: stream::iter([Ok(document.into())]).boxed(),
        media_url: None,
        webhook_url: None,
        caller: Some("+12125550180"),
        header: "Lakeside Family Clinic",
        time_zone: "America/New_York",
        keep: &kept,
    };
    let taken = office.submit(order).await;
    (taken, kept.0.into_inner().unwrap())
}

/// Asks for the fax of an attempt that was opened a moment ago.
pub(crate) async fn find(office: &dyn Provider, number: &str, reference: &str, kept: Option<&str>) -> Search {
    let number = FaxNumber::from_e164(number).unwrap();
    office
        .find(Sought { reference, kept, number: &number, since: SystemClock.now(), forgotten: false })
        .await
        .unwrap()
}
