//! What the face refuses, and how.

use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
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

async fn ask(simulator: &Running, method: Method, path: &str, body: Option<Value>) -> Response {
    let url = format!("{}/telnyx{path}", simulator.url());
    let request = Client::new().request(method, url).bearer_auth(TOKEN);
    body.map_or(request.try_clone().unwrap(), |body| request.json(&body)).send().await.unwrap()
}

fn order() -> Value {
    json!({
        "connection_id": "1293384261075731499", "to": "+12125550100", "from": "+12125550101",
        "media_url": "http://127.0.0.1:1/fax.pdf",
    })
}

#[tokio::test]
async fn orders_that_telnyx_would_not_take() {
    let (simulator, _folder) = open().await;
    let table: &[(Value, &str)] = &[
        (json!({ "connection_id": null }), "/connection_id"),
        (json!({ "connection_id": "no id" }), "/connection_id"),
        (json!({ "connection_id": 1_293_384 }), "/connection_id"),
        (json!({ "to": null }), "/to"),
        (json!({ "to": "2125550100" }), "/to"),
        (json!({ "to": ["+12125550100"] }), "/to"),
        (json!({ "from": null }), "/from"),
        (json!({ "from": "Lakeside" }), "/from"),
        (json!({ "media_url": null }), "/media_url"),
        (json!({ "media_url": "fax.pdf" }), "/media_url"),
        (json!({ "media_url": "ftp://127.0.0.1/fax.pdf" }), "/media_url"),
        (json!({ "media_name": "stored" }), "/media_url"),
        (json!({ "media_url": null, "media_name": "stored" }), "/media_name"),
        (json!({ "from_display_name": "Lakeside <Clinic>" }), "/from_display_name"),
        (json!({ "from_display_name": "x".repeat(129) }), "/from_display_name"),
        (json!({ "quality": "fine" }), "/quality"),
        (json!({ "quality": true }), "/quality"),
        (json!({ "t38_enabled": "true" }), "/t38_enabled"),
        (json!({ "monochrome": 1 }), "/monochrome"),
        (json!({ "black_threshold": 50 }), "/black_threshold"),
        (json!({ "black_threshold": 101, "monochrome": true }), "/black_threshold"),
        (json!({ "store_media": "no" }), "/store_media"),
        (json!({ "store_preview": 0 }), "/store_preview"),
        (json!({ "preview_format": "png" }), "/preview_format"),
        (json!({ "client_state": "a reference" }), "/client_state"),
        (json!({ "webhook_url": "clinic.example/hook" }), "/webhook_url"),
        (json!({ "header": "Lakeside" }), "/header"),
    ];
    for (change, pointer) in table {
        let mut body = order();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
                value => body[name] = value.clone(),
            }
        }
        let answer = ask(&simulator, Method::POST, "/v2/faxes", Some(body)).await;
        assert_eq!(answer.status(), 422, "{change}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["errors"][0]["source"]["pointer"], *pointer, "{change}");
        assert!(body["errors"][0]["code"].is_string() && body["errors"][0]["title"].is_string());
    }
    assert_eq!(simulator.faxes(), []);
    let full = json!({
        "from_display_name": "Lakeside Clinic -_~!.+1", "quality": "ultra_dark", "t38_enabled": false,
        "monochrome": true, "black_threshold": 100, "store_media": true, "store_preview": false,
        "preview_format": "pdf", "client_state": "am9iLTE=", "webhook_url": "http://127.0.0.1:1/hook",
    });
    let mut body = order();
    body.as_object_mut().unwrap().extend(full.as_object().unwrap().clone());
    assert_eq!(ask(&simulator, Method::POST, "/v2/faxes", Some(body)).await.status(), 202);
    assert_eq!(simulator.faxes()[0].reference, "job-1");
}

#[tokio::test]
async fn requests_that_are_none() {
    let (simulator, _folder) = open().await;
    let url = format!("{}/telnyx/v2/faxes", simulator.url());
    let client = Client::new();
    for (authorization, status) in
        [(None, 401), (Some("Bearer guess"), 401), (Some("Basic dG9rZW46"), 401), (Some("Bearer token"), 422)]
    {
        let request = client.post(&url).json(&json!({}));
        let request =
            authorization.map_or(request.try_clone().unwrap(), |shown| request.header(AUTHORIZATION, shown));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{authorization:?}");
        assert!(answer.json::<Value>().await.unwrap()["errors"][0]["code"].is_string());
    }
    for (kind, body, status) in [
        ("text/plain", order().to_string(), 415),
        ("application/x-www-form-urlencoded", "to=1".to_owned(), 415),
        ("multipart/form-data; boundary=x", "--x--".to_owned(), 415),
        ("application/json", "[]".to_owned(), 422),
        ("application/json", "{".to_owned(), 422),
        ("application/json", " ".repeat(ORDER_AT_MOST + 1), 413),
        ("application/json; charset=utf-8", order().to_string(), 202),
    ] {
        let request = client.post(&url).bearer_auth(TOKEN).header(CONTENT_TYPE, kind).body(body);
        assert_eq!(request.send().await.unwrap().status(), status, "{kind}");
    }
    for (method, path, status) in [
        (Method::GET, "/v2/faxes/1234", 422),
        (Method::GET, "/v2/faxes/0ccc7b54-4df3-4bca-a65a-3da1ecc777f0", 404),
        (Method::DELETE, "/v2/faxes/0ccc7b54-4df3-4bca-a65a-3da1ecc777f0", 404),
        (Method::POST, "/v2/faxes/0ccc7b54-4df3-4bca-a65a-3da1ecc777f0/actions/cancel", 404),
        (Method::GET, "/faxes", 404),
        (Method::PUT, "/v2/faxes", 405),
    ] {
        assert_eq!(ask(&simulator, method, path, None).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let (simulator, _folder) = open().await;
    for number in ["+12125550100", "+12125550199", "+12125550100"] {
        let mut body = order();
        body["to"] = number.into();
        assert_eq!(ask(&simulator, Method::POST, "/v2/faxes", Some(body)).await.status(), 202);
    }
    let taken = simulator.faxes()[1].taken;
    for (query, count, pages) in [
        (String::new(), 3, 1),
        ("filter[to][eq]=%2B12125550100".into(), 2, 1),
        ("filter[from][eq]=%2B12125550101".into(), 3, 1),
        ("filter[from][eq]=%2B12125550102".into(), 0, 0),
        ("filter[direction][eq]=outbound".into(), 3, 1),
        ("filter[direction][eq]=inbound".into(), 0, 0),
        (format!("filter[created_at][gte]={taken}"), 2, 1),
        (format!("filter[created_at][gt]={taken}"), 1, 1),
        (format!("filter[created_at][lte]={taken}"), 2, 1),
        (format!("filter[created_at][lt]={taken}"), 1, 1),
        ("page[size]=2".into(), 2, 2),
        ("page[size]=2&page[number]=2".into(), 1, 2),
        ("page[size]=2&page[number]=3".into(), 0, 2),
    ] {
        let answer = ask(&simulator, Method::GET, &format!("/v2/faxes?{query}"), None).await;
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["data"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(body["meta"]["total_pages"], pages, "{query}");
    }
    for query in [
        "filter[to]=1",
        "filter[client_state][eq]=x",
        "filter[direction][eq]=both",
        "filter[created_at][gte]=yesterday",
        "page[size]=0",
        "page[size]=251",
        "page[number]=0",
    ] {
        let answer = ask(&simulator, Method::GET, &format!("/v2/faxes?{query}"), None).await;
        assert_eq!(answer.status(), 422, "{query}");
    }
}

#[test]
fn names_are_uuids_of_version_4() {
    assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_ne!(new_id().unwrap(), new_id().unwrap());
}
