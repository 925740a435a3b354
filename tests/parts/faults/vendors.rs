//! The adapters, as an office configures them.

use super::proxy::Submits;

/// An adapter, and the request of it that goes wrong.
pub(crate) struct Vendor {
    pub(crate) name: &'static str,
    /// Where its face is at the simulator.
    pub(crate) face: &'static str,
    /// Its section of the configuration but for URL and timeout. `DIR` is replaced.
    pub(crate) keys: &'static str,
    pub(crate) submits: Submits,
    pub(crate) reports: Reports,
}

/// How the provider learns where to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reports {
    /// With each order, so that the URL names the Attempt.
    WithTheOrder,
    /// Once, in the vendor's control panel: the webhook names the fax by the vendor's name alone.
    Panel,
    /// Once, by a request of the operator; the same.
    Registered,
}

const fn posts(path: &'static str) -> Submits {
    Submits { path, body: "" }
}

pub(crate) const SIMULATOR: Vendor = Vendor {
    name: "simulator",
    face: "",
    keys: r#"
        kind = "simulator"
        token = "file:DIR/token"
        webhook_key = "file:DIR/webhook.key"
    "#,
    submits: posts("/v1/faxes"),
    reports: Reports::WithTheOrder,
};

pub(crate) const SINCH: Vendor = Vendor {
    name: "sinch",
    face: "/sinch",
    keys: r#"
        kind = "sinch"
        account = "p1"
        login = "key"
        password = "file:DIR/token"
    "#,
    submits: posts("/sinch/v3/projects/p1/faxes"),
    reports: Reports::WithTheOrder,
};

pub(crate) const TELNYX: Vendor = Vendor {
    name: "telnyx",
    face: "/telnyx",
    keys: r#"
        kind = "telnyx"
        account = "1293384261075731499"
        token = "file:DIR/token"
        from = "+12125550101"
        webhook_key = "file:DIR/telnyx.key"
    "#,
    submits: posts("/telnyx/v2/faxes"),
    reports: Reports::WithTheOrder,
};

pub(crate) const PHAXIO: Vendor = Vendor {
    name: "phaxio",
    face: "/phaxio",
    keys: r#"
        kind = "phaxio"
        login = "key"
        password = "file:DIR/token"
        webhook_key = "file:DIR/webhook.key"
    "#,
    submits: posts("/phaxio/v2.1/faxes"),
    reports: Reports::WithTheOrder,
};

pub(crate) const INTERFAX: Vendor = Vendor {
    name: "interfax",
    face: "/interfax",
    keys: r#"
        kind = "interfax"
        login = "clinic"
        password = "file:DIR/token"
    "#,
    submits: posts("/interfax/outbound/faxes"),
    reports: Reports::Panel,
};

const FAXPLUS: &str = r#"
    kind = "faxplus"
    token = "file:DIR/token"
    from = "+12125550101"
"#;

/// A submit has two steps; this is the first.
pub(crate) const FAXPLUS_UPLOAD: Vendor = Vendor {
    name: "faxplus, upload",
    face: "/faxplus",
    keys: FAXPLUS,
    submits: posts("/faxplus/v3/accounts/self/files"),
    reports: Reports::Registered,
};

/// And this the second.
pub(crate) const FAXPLUS_ORDER: Vendor = Vendor {
    name: "faxplus, order",
    face: "/faxplus",
    keys: FAXPLUS,
    submits: posts("/faxplus/v3/accounts/self/outbox"),
    reports: Reports::Registered,
};

/// Told to resend what its list does not show, as all others do; by itself it holds that for a person (`tests/crash.rs`).
pub(crate) const SRFAX: Vendor = Vendor {
    name: "srfax",
    face: "/srfax",
    keys: r#"
        kind = "srfax"
        absent = "resend"
        account = "12345"
        password = "file:DIR/token"
        mail = "fax@clinic.example"
        from = "+12125550101"
    "#,
    // One URL takes everything.
    submits: Submits { path: "/srfax/SRF_SecWebSvc.php", body: "Queue_Fax" },
    reports: Reports::WithTheOrder,
};

pub(crate) const SIGNALWIRE: Vendor = Vendor {
    name: "signalwire",
    face: "/signalwire",
    keys: r#"
        kind = "signalwire"
        account = "e0d6a1b7"
        token = "file:DIR/token"
        from = "+12125550101"
    "#,
    submits: posts("/signalwire/api/laml/2010-04-01/Accounts/e0d6a1b7/Faxes"),
    reports: Reports::WithTheOrder,
};
