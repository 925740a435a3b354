//! Story: offices mail documents, with the programs they have, and read one answer in the same thread.

use support::{Stage, clients, documents, smtp};

mod support;

/// Mail from this machine in Jane's name, or in anybody's of the claims department who signs in.
const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
tls_certificate = "FIXTURES/tls/fax.example.com.pem"
tls_key = "FIXTURES/tls/fax.example.com.key"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "claims"
addresses = ["@claims.clinic.example"]
login = "claims"
password = "file:DIR/claims.password"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const JANE: &str = "jane@clinic.example";
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";

async fn stage() -> Stage {
    let stage = Stage::new(CONFIG).await;
    stage.secret("claims.password", b"correct horse");
    stage.verified(&[("mercy-radiology", "+12125550199"), ("county-labs", "+12125550110")]).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_becomes_a_fax_and_one_receipt_in_its_thread() {
    let mut stage = stage().await;
    stage.start().await;
    let mail = documents::mail(
        JANE,
        RADIOLOGY,
        "<1@clinic.example>",
        "Referral",
        &[("a.pdf", &documents::pdf("a", 2))],
    );
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    let receipt = stage.final_receipt("<1@clinic.example>").await;
    println!("{receipt:#?}");
    assert_eq!(stage.delivered("+12125550199").len(), 1);
}
