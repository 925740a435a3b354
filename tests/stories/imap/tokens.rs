//! The mailbox is opened with access tokens: the sign-in is with the real server, which asks the provider about each token.

use super::dovecot::Dovecot;
use super::provider::Provider;
use super::{id, lies, mail};
use crate::support::{Clinic, RADIOLOGY, Stage, clients};

fn clinic(provider: &Provider, dovecot: &Dovecot, flow: &str, mechanism: &str) -> Clinic {
    let oauth = format!(
        "imap.office.oauth = \"office\"\nimap.office.mechanism = \"{mechanism}\"\n\
         [oauth.office]\nprovider = \"other\"\nflow = \"{flow}\"\nclient_id = \"app\"\nscope = \"mail\"\n\
         token_url = \"{}\"\nclient_secret = \"file:DIR/client.secret\"\nrefresh_token = \"file:DIR/refresh.token\"\n",
        provider.token_url()
    );
    super::clinic(dovecot.port).without("imap.office.password").with(&oauth)
}

async fn stage(provider: &Provider, dovecot: &Dovecot, flow: &str, mechanism: &str) -> Stage {
    let stage = super::stage(&clinic(provider, dovecot, flow, mechanism)).await;
    stage.secret("client.secret", b"of the app");
    stage.secret("refresh.token", b"refresh-0");
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn both_mechanisms_open_it_and_a_revoked_token_is_renewed() {
    for mechanism in ["xoauth2", "oauthbearer"] {
        let provider = Provider::start().await;
        let dovecot = Dovecot::start("", &provider.introspection()).await;
        let mut stage = stage(&provider, &dovecot, "client-credentials", mechanism).await;
        stage.start().await;
        dovecot.deliver("INBOX", &mail(RADIOLOGY, "first")).await;
        lies(&stage, &dovecot, "Faxed", &["first"]).await;
        assert_eq!(provider.asked().len(), 1);
        // The token in hand should be good for an hour, and is not.
        provider.revoke();
        dovecot.kick().await;
        dovecot.deliver("INBOX", &mail(RADIOLOGY, "second")).await;
        lies(&stage, &dovecot, "Faxed", &["first", "second"]).await;
        assert_eq!(provider.asked().len(), 2, "renewed once");
        let log = stage.log();
        assert!(!log.contains("access-1") && !log.contains("of the app"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_that_are_good_once_survive_a_restart_and_a_check() {
    let provider = Provider::start().await;
    let dovecot = Dovecot::start("", &provider.introspection()).await;
    let mut stage = stage(&provider, &dovecot, "refresh-token", "xoauth2").await;
    for n in ["first", "second", "third"] {
        stage.start().await;
        dovecot.deliver("INBOX", &mail(RADIOLOGY, n)).await;
        stage.final_receipt(&id(n)).await;
        stage.daemon().kill().await;
        let checked = stage.command("check", &[]).await;
        let said = clients::said(&checked);
        assert!(
            said.contains("oauth.office gives an access token")
                && said.contains("the mailbox office lets us in"),
            "{said}"
        );
    }
    assert_eq!(provider.asked().len(), 6);
    let database = std::fs::read(stage.path("data/faxbridge.db")).unwrap();
    assert!(memchr::memmem::find(&database, b"refresh-").is_none(), "no token lies unsealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_setting_of_a_token_is_wrong() {
    let provider = Provider::start().await;
    let dovecot = Dovecot::start("", &provider.introspection()).await;
    let stage = stage(&provider, &dovecot, "client-credentials", "xoauth2").await;
    let fault = async |key: &str, says: &str| {
        let checked = stage.command("check", &[]).await;
        let said = clients::said(&checked);
        let line = clients::fault(&said, key);
        assert!(line.contains(says), "{line}");
        assert_eq!(checked.status.code(), Some(1), "{said}");
        assert!(!said.contains("ECHO"), "{said}");
    };
    for (refusal, key, says) in [
        (
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: ECHO"}"#,
            "oauth.office.client_secret",
            "AADSTS7000215",
        ),
        (
            r#"{"error":"unauthorized_client","error_description":"AADSTS700016: ECHO"}"#,
            "oauth.office.client_id",
            "AADSTS700016",
        ),
        (
            r#"{"error":"invalid_request","error_description":"AADSTS90002: ECHO"}"#,
            "oauth.office.tenant",
            "AADSTS90002",
        ),
        (r#"{"error":"invalid_scope","error_description":"ECHO"}"#, "oauth.office.scope", "invalid_scope"),
    ] {
        provider.refuse(Some((400, refusal)));
        fault(key, says).await;
    }
    provider.refuse(Some((503, "")));
    fault("oauth.office.token_url", "trouble of its own").await;
    provider.refuse(None);
    // A good token that is somebody else's.
    let clinic = clinic(&provider, &dovecot, "client-credentials", "xoauth2");
    stage.configure(clinic.with("imap.office.login = \"other@clinic.example\""));
    fault("imap.office.login", "does not take a fresh access token").await;
}
