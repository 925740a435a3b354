//! What a token endpoint answered, and which setting is at fault where it refused (RFC 6749, sections 5.1 and 5.2).

use std::error::Error;

use reqwest::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::OauthError;
use crate::config::OauthFlow;

/// An answer longer than this is not of a token endpoint.
const AT_MOST: usize = 256 << 10;
/// A token longer than this is none: no mail server takes it.
const TOKEN_AT_MOST: usize = 32 << 10;

/// A token that was given.
pub(super) struct Granted {
    pub(super) access_token: Zeroizing<String>,
    /// Seconds.
    pub(super) expires_in: Option<u32>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
}

/// An answer, read whole.
pub(super) struct TokenAnswer {
    status: StatusCode,
    body: Zeroizing<Vec<u8>>,
    whole: bool,
}

#[derive(Deserialize)]
struct Grant {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenAnswer {
    pub(super) async fn read(mut response: reqwest::Response) -> Result<TokenAnswer, reqwest::Error> {
        let status = response.status();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await? {
            if body.len().saturating_add(chunk.len()) > AT_MOST {
                return Ok(TokenAnswer { status, body, whole: false });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(TokenAnswer { status, body, whole: true })
    }

    /// The token in it.
    ///
    /// # Errors
    /// The setting that is at fault, as far as the codes tell.
    pub(super) fn granted(&self, flow: OauthFlow, secret: bool, host: &str) -> Result<Granted, OauthError> {
        let status = self.status.as_u16();
        let nonsense = || {
            OauthError::setting(
                "token_url",
                format!("{host} does not answer as a token endpoint does (HTTP {status})"),
            )
        };
        if !self.whole {
            return Err(nonsense());
        }
        if self.status.is_success() {
            let grant: Grant = serde_json::from_slice(&self.body).map_err(|_| nonsense())?;
            let bearer = grant.token_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
            let token = grant.access_token.map(Zeroizing::new).filter(|token| usable(token));
            let refresh_token = grant.refresh_token.map(Zeroizing::new).filter(|token| usable(token));
            let (Some(access_token), true) = (token, bearer) else { return Err(nonsense()) };
            let expires_in = grant.expires_in.as_ref().and_then(seconds);
            return Ok(Granted { access_token, expires_in, refresh_token });
        }
        match (serde_json::from_slice::<Refusal>(&self.body), status) {
            (Ok(refusal), 400..=499) if status != 429 => Err(refusal.setting(flow, secret)),
            (_, 408 | 429 | 500..) => Err(OauthError::later(
                "token_url",
                format!("{host} has trouble of its own at the moment (HTTP {status})"),
            )),
            (_, 300..=399) => Err(OauthError::setting(
                "token_url",
                format!(
                    "{host} says that the token endpoint is elsewhere (HTTP {status}); that is not followed"
                ),
            )),
            (_, 404 | 405) => Err(OauthError::setting(
                "token_url",
                format!("{host} has no token endpoint there (HTTP {status})"),
            )),
            _ => Err(nonsense()),
        }
    }
}

/// `b64token` of RFC 6750, section 2.1, read widely: what a header or a SASL message can carry.
fn usable(token: &str) -> bool {
    !token.is_empty() && token.len() <= TOKEN_AT_MOST && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Some endpoints write the number as text.
fn seconds(value: &serde_json::Value) -> Option<u32> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u32::try_from(number).ok()
}

impl Refusal {
    /// Microsoft's number says more than the standard's word, and is looked at first.
    fn setting(&self, flow: OauthFlow, secret: bool) -> OauthError {
        let number = microsoft_number(&self.error_description);
        let code = match number {
            Some(number) => format!("AADSTS{number}"),
            None => plain(&self.error),
        };
        let (key, sentence) =
            number.and_then(by_number).unwrap_or_else(|| by_word(&self.error, flow, secret));
        let later = matches!(self.error.as_str(), "temporarily_unavailable" | "server_error" | "slow_down");
        let sentence = format!("{sentence} ({code})");
        if later { OauthError::later(key, sentence) } else { OauthError::setting(key, sentence) }
    }
}

/// A word of the standard, or nothing: an endpoint may write whatever it likes there.
fn plain(word: &str) -> String {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if word.len() <= 40 && !word.is_empty() && word.chars().all(known) {
        word.to_owned()
    } else {
        "an error without a known code".to_owned()
    }
}

fn microsoft_number(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

/// "Microsoft Entra authentication and authorization error codes".
fn by_number(number: u32) -> Option<(&'static str, &'static str)> {
    Some(match number {
        7_000_215 => (
            "client_secret",
            "is not the application's secret; its value is needed, which Microsoft shows once, not its id",
        ),
        7_000_222 => ("client_secret", "has expired; make a new one in the app registration"),
        7_000_218 => ("client_secret", "is missing: Microsoft wants one of this application"),
        700_025 => ("client_secret", "is not wanted: the application is registered as a public client"),
        700_016 | 700_038 => ("client_id", "names no application of this tenant"),
        90_002 | 900_023 | 50_059 | 900_021 => ("tenant", "is none that Microsoft knows"),
        50_020 | 500_202 => ("tenant", "is not the one that the consent was given in"),
        70_011 | 1_002_012 | 500_011 | 28_002 | 28_003 => {
            ("scope", "is not one that Microsoft knows for mail")
        }
        65_001 | 65_004 => {
            ("scope", "was not consented to; an administrator has to grant it to the application")
        }
        700_082 | 70_008 | 70_043 | 50_173 | 50_089 | 54_005 | 700_084 => {
            ("refresh_token", "has expired or was revoked; consent has to be given anew")
        }
        9_002_313 => ("refresh_token", "is not one of this provider"),
        50_076 | 50_079 | 50_158 | 53_003 | 53_000 => (
            "refresh_token",
            "is held up by a rule of the tenant (conditional access); except the application from it, or give consent anew",
        ),
        7_000_112 | 7_000_113 => ("client_id", "names an application that is disabled in this tenant"),
        700_027 | 700_023 => {
            ("client_secret", "is not how this application proves itself; it wants a certificate")
        }
        _ => return None,
    })
}

/// RFC 6749, section 5.2.
fn by_word(word: &str, flow: OauthFlow, secret: bool) -> (&'static str, &'static str) {
    match word {
        "invalid_client" if secret => {
            ("client_secret", "or client_id is wrong: the provider does not know this pair")
        }
        "invalid_client" => ("client_id", "is not known to the provider, or needs a client_secret"),
        "deleted_client" => ("client_id", "names an application that was deleted"),
        "invalid_grant" if flow == OauthFlow::RefreshToken => {
            ("refresh_token", "is wrong, has expired or was revoked; consent has to be given anew")
        }
        "invalid_grant" => ("flow", "is not granted to this application"),
        "unauthorized_client" => ("flow", "is not allowed for this application; another one may be"),
        "unsupported_grant_type" => ("flow", "is not one that the provider has"),
        "invalid_scope" => ("scope", "is unknown to the provider, or more than was consented to"),
        "access_denied" | "admin_policy_enforced" | "org_internal" => {
            ("client_id", "is not allowed by a rule of the organization")
        }
        "invalid_request" => (
            "token_url",
            "leads to an endpoint that misses something in the request; look at flow and scope too",
        ),
        "temporarily_unavailable" | "server_error" | "slow_down" => {
            ("token_url", "leads to a provider with trouble of its own")
        }
        _ => ("token_url", "leads to an endpoint that refused"),
    }
}

/// The endpoint was not reached, or broke off.
pub(super) fn unreachable(error: &reqwest::Error, host: &str) -> OauthError {
    if error.is_timeout() {
        return OauthError::later("token_url", format!("{host} did not answer in time"));
    }
    let mut story = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        story = format!(": {inner}");
        cause = inner.source();
    }
    OauthError::later("token_url", format!("{host} cannot be reached{story}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> TokenAnswer {
        TokenAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Zeroizing::new(body.into()),
            whole: true,
        }
    }

    fn error(answer: &TokenAnswer, flow: OauthFlow) -> OauthError {
        match answer.granted(flow, true, "login.example") {
            Ok(_) => panic!("a token"),
            Err(error) => error,
        }
    }

    #[test]
    fn each_refusal_names_the_setting_at_fault() {
        use OauthFlow::{ClientCredentials, RefreshToken};
        let microsoft = |word: &str, text: &str| {
            format!(r#"{{"error":"{word}","error_description":"{text} SECRET-ECHO"}}"#)
        };
        let cases = [
            (
                microsoft("invalid_client", "AADSTS7000215: Invalid client secret."),
                ClientCredentials,
                "client_secret",
                "AADSTS7000215",
            ),
            (
                microsoft("invalid_client", "AADSTS7000222: expired"),
                ClientCredentials,
                "client_secret",
                "expired",
            ),
            (
                microsoft("unauthorized_client", "AADSTS700016: Application"),
                ClientCredentials,
                "client_id",
                "AADSTS700016",
            ),
            (microsoft("invalid_request", "AADSTS90002: Tenant"), ClientCredentials, "tenant", "AADSTS90002"),
            (
                microsoft("invalid_scope", "AADSTS1002012: The provided"),
                ClientCredentials,
                "scope",
                "AADSTS1002012",
            ),
            (
                microsoft("invalid_grant", "AADSTS700082: expired"),
                RefreshToken,
                "refresh_token",
                "consent has to be given anew",
            ),
            (microsoft("invalid_grant", "AADSTS65001: consent"), RefreshToken, "scope", "administrator"),
            (microsoft("invalid_client", "AADSTS1: new"), ClientCredentials, "client_secret", "AADSTS1"),
            (r#"{"error":"invalid_client"}"#.into(), RefreshToken, "client_secret", "client_id"),
            (
                r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#
                    .into(),
                RefreshToken,
                "refresh_token",
                "anew",
            ),
            (r#"{"error":"invalid_grant"}"#.into(), ClientCredentials, "flow", "invalid_grant"),
            (r#"{"error":"unauthorized_client"}"#.into(), ClientCredentials, "flow", "unauthorized_client"),
            (
                r#"{"error":"unsupported_grant_type"}"#.into(),
                ClientCredentials,
                "flow",
                "unsupported_grant_type",
            ),
            (r#"{"error":"invalid_scope"}"#.into(), ClientCredentials, "scope", "invalid_scope"),
            (
                r#"{"error":"SECRET-ECHO in here"}"#.into(),
                ClientCredentials,
                "token_url",
                "without a known code",
            ),
        ];
        for (body, flow, key, says) in cases {
            let error = error(&answer(400, &body), flow);
            assert_eq!((error.key, error.permanent), (key, true), "{body}");
            assert!(error.sentence.contains(says), "{body}: {error}");
            assert!(!error.sentence.contains("SECRET-ECHO"), "{error}");
        }
    }

    #[test]
    fn what_is_no_token_endpoint_and_what_is_one_in_trouble() {
        let cases = [
            (302, "", "token_url", true),
            (404, "<html>", "token_url", true),
            (400, "<html>", "token_url", true),
            (200, "<html>", "token_url", true),
            (200, r#"{"access_token":""}"#, "token_url", true),
            (200, r#"{"access_token":"a\nb"}"#, "token_url", true),
            (200, r#"{"access_token":"ab","token_type":"mac"}"#, "token_url", true),
            (429, r#"{"error":"slow_down"}"#, "token_url", false),
            (500, r#"{"error":"server_error"}"#, "token_url", false),
            (503, "", "token_url", false),
        ];
        for (status, body, key, permanent) in cases {
            let error = error(&answer(status, body), OauthFlow::ClientCredentials);
            assert_eq!((error.key, error.permanent), (key, permanent), "{status} {body}: {error}");
        }
        let short = TokenAnswer { whole: false, ..answer(200, "{}") };
        assert!(error(&short, OauthFlow::ClientCredentials).permanent);
    }

    #[test]
    fn tokens_are_read() {
        let body = r#"{"token_type":"Bearer","expires_in":"3599","ext_expires_in":3599,"access_token":"abc.def","refresh_token":"r2"}"#;
        let granted = answer(200, body).granted(OauthFlow::RefreshToken, true, "x").ok().unwrap();
        assert_eq!(granted.access_token.as_str(), "abc.def");
        assert_eq!(granted.expires_in, Some(3599));
        assert_eq!(granted.refresh_token.unwrap().as_str(), "r2");
    }
}
