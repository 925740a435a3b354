//! What the face refuses, and how.

use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use reqwest::{Body, Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::simulator::server::{Options, Running, serve};

const TOKEN: &str = "token";

async fn open() -> (Running, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut options = Options::new(folder.path().to_owned(), TOKEN, b"key");
    options.call_time = Duration::from_millis(5);
    (serve(options).await.unwrap(), folder)
}

fn request(simulator: &Running, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}/interfax{path}", simulator.url());
    Client::new().request(method, url).basic_auth("clinic", Some(TOKEN))
}

async fn order(simulator: &Running, query: &str) -> Response {
    let request = request(simulator, Method::POST, &format!("/outbound/faxes?{query}"));
    request.header(CONTENT_TYPE, "application/pdf").body("%PDF-").send().await.unwrap()
}

#[tokio::test]
async fn orders_that_interfax_would_not_take() {
    let (simulator, _folder) = open().await;
    let number = "faxNumber=%2B12125550100";
    for query in [
        String::new(),
        "faxNumber=".into(),
        "faxNumber=2125550100".into(),
        // A plus sign that was not escaped is a space.
        "faxNumber=+12125550100".into(),
        format!("{number}&{number}"),
        format!("{number}&csid={}", "x".repeat(21)),
        format!("{number}&csid="),
        format!("{number}&reference={}", "x".repeat(61)),
        format!("{number}&retriesToPerform=none"),
        format!("{number}&retriesToPerform=-1"),
        format!("{number}&retriesToPerform=0"),
        format!("{number}&pageHeader="),
        format!("{number}&pageSize=a3"),
        format!("{number}&fitToPage=yes"),
        format!("{number}&pageOrientation=upright"),
        format!("{number}&resolution=superfine"),
        format!("{number}&rendering=colour"),
        format!("{number}&postponeTime=later"),
        format!("{number}&replyAddress=clinic"),
        format!("{number}&webhookUrl=http://127.0.0.1"),
        format!("{number}&faxnumber=%2B12125550100"),
    ] {
        let answer = order(&simulator, &query).await;
        assert_eq!(answer.status(), 400, "{query}");
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/json");
        let body: Value = answer.json().await.unwrap();
        assert!(body["code"].is_i64() && body["message"].is_string() && body["moreInfo"].is_string());
    }
    assert_eq!(simulator.faxes(), []);
    let full = "faxNumber=%2B1-212-555-0100&csid=12345678901234567890&reference=job-1&retriesToPerform=1&pageHeader=N\
         &pageSize=Letter&fitToPage=scale&pageOrientation=portrait&resolution=Fine&rendering=bw&contact=\
         &replyAddress=a@b.example&postponeTime=2026-01-15T10:00:00";
    let answer = order(&simulator, full).await;
    assert_eq!(answer.status(), 201);
    let fax = simulator.faxes().remove(0);
    assert_eq!((fax.number.as_str(), fax.reference.as_str()), ("+12125550100", "job-1"));
    let location = answer.headers()[LOCATION].to_str().unwrap().to_owned();
    assert_eq!(location, format!("{}/interfax/outbound/faxes/{}", simulator.url(), fax.id));
    assert_eq!(answer.text().await.unwrap(), "");
}

#[tokio::test]
async fn requests_that_are_none() {
    let (simulator, folder) = open().await;
    let path = "/outbound/faxes?faxNumber=%2B12125550100";
    for (authorization, status) in [
        ("", 401),
        ("Bearer token", 401),
        ("Basic !", 401),
        ("Basic Y2xpbmlj", 401),
        ("Basic Y2xpbmljOmd1ZXNz", 401),
        ("Basic OnRva2Vu", 401),
        ("Basic Y2xpbmljOnRva2Vu", 415),
    ] {
        let url = format!("{}/interfax{path}", simulator.url());
        let answer =
            Client::new().post(url).header(AUTHORIZATION, authorization).body("x").send().await.unwrap();
        assert_eq!(answer.status(), status, "{authorization}");
        assert!(answer.json::<Value>().await.unwrap()["code"].is_i64());
    }
    let streamed = || Body::wrap_stream(futures_util::stream::iter([Ok::<_, io::Error>("%PDF-")]));
    for (kind, body, status) in [
        ("text/plain", Body::from("x"), 415),
        ("multipart/mixed; boundary=x", Body::from("--x--"), 415),
        ("application/pdf", Body::from(""), 411),
        ("application/pdf", streamed(), 411),
        ("application/pdf", Body::from(vec![b'x'; 20_000_001]), 413),
        ("application/pdf", Body::from("%PDF-"), 201),
    ] {
        let answer =
            request(&simulator, Method::POST, path).header(CONTENT_TYPE, kind).body(body).send().await;
        assert_eq!(answer.unwrap().status(), status, "{kind}");
    }
    for (method, path, status) in [
        (Method::GET, "/outbound/faxes/123", 404),
        (Method::GET, "/outbound/faxes/none", 404),
        (Method::POST, "/outbound/faxes/123/cancel", 404),
        (Method::POST, "/outbound/faxes/123/hide", 404),
        (Method::DELETE, "/outbound/faxes/123", 405),
        (Method::GET, "/outbound/faxes/completed", 400),
        (Method::GET, "/faxes", 404),
    ] {
        assert_eq!(request(&simulator, method, path).send().await.unwrap().status(), status, "{path}");
    }
    simulator.idle().await;
    let left = std::fs::read_dir(folder.path().join(".copies")).unwrap().count();
    assert_eq!(left, 1, "only what was taken is kept");
}

#[tokio::test]
async fn searches_and_hiding() {
    let (simulator, _folder) = open().await;
    for (number, reference) in [("2125550100", "a-1"), ("2125550112", "b-1"), ("2125550135", "c-1")] {
        let query = format!("faxNumber=%2B1{number}&reference={reference}");
        assert_eq!(order(&simulator, &query).await.status(), 201);
    }
    simulator.idle().await;
    let ids: Vec<String> = simulator.faxes().iter().map(|fax| fax.id.clone()).collect();
    let found = async |path: &str| -> Vec<u64> {
        let answer = request(&simulator, Method::GET, path).send().await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/json");
        let list: Vec<Value> = answer.json().await.unwrap();
        list.iter().map(|fax| fax["id"].as_u64().unwrap()).collect()
    };
    let number = |index: usize| ids[index].parse::<u64>().unwrap();
    let all = vec![number(2), number(1), number(0)];
    for (query, expected) in [
        ("", all.clone()),
        ("?reference=b-1", vec![number(1)]),
        ("?reference=b", vec![]),
        ("?faxNumber=%2B1-212-5550135", vec![number(2)]),
        ("?status=Success", vec![]),
        ("?status=204000", vec![number(0)]),
        ("?status=Failed", vec![number(1), number(0)]),
        ("?status=Completed&limit=1", vec![number(1)]),
        ("?status=inprocess", vec![number(2)]),
        ("?status=All&offset=2", vec![number(0)]),
        ("?dateFrom=2020-01-01T00:00:00&dateTo=2020-01-02T00:00:00", vec![]),
        ("?dateFrom=2020-01-01T00:00:00", all.clone()),
    ] {
        assert_eq!(found(&format!("/outbound/search{query}")).await, expected, "{query}");
    }
    assert_eq!(found(&format!("/outbound/search?ids={}", ids.join(","))).await, all);
    let completed = found(&format!("/outbound/faxes/completed?ids={}", ids.join(","))).await;
    assert_eq!(completed, [number(0), number(1)]);
    for query in ["subject=x", "status=sent", "limit=many", "faxNumber=1", "dateFrom=x", "sortOrder=up"] {
        let answer = request(&simulator, Method::GET, &format!("/outbound/search?{query}")).send().await;
        assert_eq!(answer.unwrap().status(), 400, "{query}");
    }
    let hide = format!("/outbound/faxes/{}/hide", ids[0]);
    assert_eq!(request(&simulator, Method::POST, &hide).send().await.unwrap().status(), 200);
    assert_eq!(found("/outbound/search").await, [number(2), number(1)]);
    let shown =
        request(&simulator, Method::GET, &format!("/outbound/faxes/{}", ids[0])).send().await.unwrap();
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["destinationFax"], "0012125550100", "it is there all the same");
}
