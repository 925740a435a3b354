//! The providers of the daemon: one of each kind that speaks HTTP, all of them faces of the one simulator.

use faxbridge::delivery::webhook::Hooks;
use faxbridge::simulator::server::{Face, Fax};
use faxbridge::simulator::telnyx_public_key;

use super::support::stage::{MASTER_KEY, WEBHOOK_KEY};
use super::support::{Clinic, Stage, port};
use faxbridge::vault::{MasterKey, Purpose};

/// A request is given up after this; the simulator's late answers come later.
const TIMEOUT: &str = "1 s";

/// What each provider's section holds beside `url` and `timeout`. The simulator's own API is in every [`Clinic`].
const SECTIONS: &[(&str, &str)] = &[
    ("sinch", "account = \"project\"\nlogin = \"key\"\npassword = \"file:DIR/provider.token\""),
    (
        "telnyx",
        "account = \"1293384261075731499\"\ntoken = \"file:DIR/provider.token\"\nwebhook_key = \"file:DIR/telnyx.key\"",
    ),
    (
        "phaxio",
        "login = \"key\"\npassword = \"file:DIR/provider.token\"\nwebhook_key = \"file:DIR/webhook.key\"",
    ),
    ("interfax", "login = \"clinic\"\npassword = \"file:DIR/provider.token\""),
    ("faxplus", "token = \"file:DIR/provider.token\""),
    // As its example has it: what its list does not show is left to a person.
    (
        "srfax",
        "account = \"12345\"\npassword = \"file:DIR/provider.token\"\nmail = \"fax@clinic.example\"\nabsent = \"hold\"",
    ),
    ("signalwire", "account = \"project\"\ntoken = \"file:DIR/provider.token\""),
];

/// Providers that may send a submission, in order; where it is sent to says which. The name is a label of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) providers: &'static [&'static str],
}

const fn route(name: &'static str, providers: &'static [&'static str]) -> Route {
    Route { name, providers }
}

/// Every provider alone, and every one with another.
pub(crate) const ROUTES: &[Route] = &[
    route("simulator", &["simulator"]),
    route("sinch", &["sinch"]),
    route("telnyx", &["telnyx"]),
    route("phaxio", &["phaxio"]),
    route("interfax", &["interfax"]),
    route("faxplus", &["faxplus"]),
    route("srfax", &["srfax"]),
    route("signalwire", &["signalwire"]),
    route("sinch-phaxio", &["sinch", "phaxio"]),
    route("telnyx-simulator", &["telnyx", "simulator"]),
    route("interfax-srfax", &["interfax", "srfax"]),
    route("signalwire-faxplus", &["signalwire", "faxplus"]),
];

impl Route {
    /// Names of its two rules: for mails, and for files.
    pub(crate) fn rules(self) -> [String; 2] {
        [format!("{} by mail", self.name), format!("{} by file", self.name)]
    }

    fn config(self) -> String {
        let (name, providers, [mail, file]) = (self.name, self.providers, self.rules());
        format!(
            "[[rule]]\nname = \"{mail}\"\nsource = \"smtp\"\nto = \"{{number}}@{name}.clinic.example\"\n\
             providers = {providers:?}\n\n\
             [[rule]]\nname = \"{file}\"\nfile = \"{name}_{{account}}_{{number}}.pdf\"\nreference = \"{{account}}\"\n\
             providers = {providers:?}\n\n"
        )
    }
}

/// Names of all providers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once("simulator").chain(SECTIONS.iter().map(|(name, _)| *name))
}

/// The provider that a fax came by.
pub(crate) fn provider_of(fax: &Fax) -> &'static str {
    match fax.face {
        Face::Own => "simulator",
        Face::Sinch => "sinch",
        Face::Telnyx => "telnyx",
        Face::Phaxio => "phaxio",
        Face::Interfax => "interfax",
        Face::Faxplus => "faxplus",
        Face::Srfax => "srfax",
        Face::Signalwire => "signalwire",
    }
}

/// Where the daemon is reached from outside. Providers keep these URLs over its lives, so they are the same in each.
pub(crate) struct Outside {
    webhook: u16,
    media: u16,
    hooks: Hooks,
}

impl Outside {
    pub(crate) fn choose() -> Outside {
        let (webhook, media) = (port::free(), port::free());
        let marker = MasterKey::from_bytes(&MASTER_KEY).unwrap().marker(Purpose::Webhook).unwrap();
        let hooks = Hooks::new(&format!("http://127.0.0.1:{webhook}"), marker);
        Outside { webhook, media, hooks }
    }

    /// Where `provider` reports whatever it has news of.
    pub(crate) fn hook(&self, provider: &str) -> String {
        self.hooks.url_for(provider, None)
    }

    /// What reaches the `clinic` from outside, its providers, and its routes to them.
    pub(crate) fn serve(&self, clinic: Clinic) -> Clinic {
        let Outside { webhook, media, .. } = self;
        let mut clinic = clinic.with(&format!(
            "organization.fax = \"+12125550101\"\nprovider.simulator.timeout = \"{TIMEOUT}\"\n\
             webhook.listen = \"127.0.0.1:{webhook}\"\n\
             [media]\nlisten = \"127.0.0.1:{media}\"\npublic_url = \"http://127.0.0.1:{media}\""
        ));
        for (name, keys) in SECTIONS {
            clinic = clinic.with(&format!(
                "[provider.{name}]\nkind = \"{name}\"\nurl = \"PROVIDER/{name}\"\ntimeout = \"{TIMEOUT}\"\n{keys}"
            ));
        }
        ROUTES.iter().fold(clinic, |clinic, route| clinic.with(&route.config()))
    }

    /// Does what an operator does at the providers before the first start.
    pub(crate) async fn enrol(&self, stage: &Stage) {
        stage.secret("telnyx.key", telnyx_public_key(WEBHOOK_KEY).as_bytes());
        let hook = format!("{{\"target\": \"{}\", \"event\": \"fax_sent\"}}", self.hook("faxplus"));
        let made = reqwest::Client::new()
            .post(format!("{}/faxplus/v3/hooks", stage.simulator.url()))
            .bearer_auth("token-of-the-tests")
            .header("content-type", "application/json")
            .body(hook)
            .send()
            .await
            .unwrap();
        assert_eq!(made.status(), 201);
    }
}
