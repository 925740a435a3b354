//! Story: programs drop files, over SFTP and into a folder, and pick up the results.

use std::io::Write;
use std::path::Path;

use crate::support::{Stage, clients, documents};
use serde_json::Value;

const CONFIG: &str = r#"
[sftp]
listen = ["127.0.0.1:0"]

[folder.scans]
path = "DIR/scans"
sender = "scans"
scan = "100 ms"
settle = "500 ms"

[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]
receipts_to = "billing@clinic.example"

[[sender]]
name = "scans"

[[rule]]
name = "billing statements"
source = "sftp:billing"
file = "{account}_{number}.pdf"
reference = "{account}"

[[rule]]
name = "scanned referrals"
source = "folder:scans"
file = "{recipient}.pdf"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const NUMBER: &str = "+12125550199";
const STATEMENT: &str = "483920_+12125550199.pdf";

async fn stage() -> Stage {
    let mut stage = Stage::new(CONFIG).await;
    std::fs::create_dir(stage.path("scans")).unwrap();
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    stage
}

/// Waits for a result of OpenSSH's `get`, and reads it.
async fn fetched(stage: &Stage, name: &str) -> Value {
    stage
        .until(&format!("the result {name}"), async || {
            let got = clients::sftp(stage, &format!("get results/{name} got.json\n")).await;
            got.status.success().then(|| read(&stage.path("got.json")))
        })
        .await
}

/// The receipt within its signature.
fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap();
    let signed: Value = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(signed["signature"]["algorithm"], "ed25519");
    signed["receipt"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_puts_a_file_and_fetches_and_removes_its_result() {
    let stage = stage().await;
    std::fs::write(stage.path(STATEMENT), documents::pdf("the statement", 1)).unwrap();
    let put = clients::sftp(&stage, &format!("put {STATEMENT} in/\nls -l in\n")).await;
    assert!(put.status.success(), "{}", clients::said(&put));

    let result = fetched(&stage, "483920_+12125550199.json").await;
    assert_eq!(result["state"], "delivered", "{result:#}");
    assert_eq!(result["jobs"][0]["reference"], "483920");
    assert_eq!(result["jobs"][0]["pages"], 2);
    let fax = &stage.delivered(NUMBER)[0];
    assert_eq!(result["jobs"][0]["sha256"], fax.sha256.as_str());

    let removed = clients::sftp(&stage, "rm results/483920_+12125550199.json\n").await;
    assert!(removed.status.success(), "{}", clients::said(&removed));
    let left = clients::sftp(&stage, "ls -1 results\n").await;
    assert!(left.status.success() && !clients::said(&left).contains(".json"), "{}", clients::said(&left));
    let again = clients::sftp(&stage, "get results/483920_+12125550199.json\n").await;
    assert!(!again.status.success(), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_sync_and_files_renamed_to_their_final_name_count_once() {
    let stage = stage().await;
    std::fs::write(stage.path("a.pdf"), documents::pdf("a", 1)).unwrap();
    let batch = "put -f a.pdf in/1_+12125550199.pdf\n\
                 put a.pdf in/2_+12125550199.pdf.part\n\
                 rename in/2_+12125550199.pdf.part in/2_+12125550199.pdf\n";
    let put = clients::sftp(&stage, batch).await;
    assert!(put.status.success(), "{}", clients::said(&put));
    for name in ["1_+12125550199.json", "2_+12125550199.json"] {
        assert_eq!(fetched(&stage, name).await["state"], "delivered");
    }
    assert_eq!(stage.delivered(NUMBER).len(), 2);
    // The same file under the same name is the same fax, also after its end.
    let put =
        clients::sftp(&stage, "put a.pdf in/1_+12125550199.pdf\nput a.pdf in/3_+12125550199.pdf\n").await;
    assert!(put.status.success(), "{}", clients::said(&put));
    fetched(&stage, "3_+12125550199.json").await;
    assert_eq!(stage.delivered(NUMBER).len(), 3);
    assert_eq!(stage.submissions().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_copies_with_its_checks() {
    let stage = stage().await;
    std::fs::create_dir(stage.path("outgoing")).unwrap();
    std::fs::write(stage.path("outgoing").join(STATEMENT), documents::pdf("statement", 3)).unwrap();
    std::fs::write(stage.path("outgoing/7_+12125550199.pdf"), documents::pdf("another", 1)).unwrap();
    let outgoing = stage.path("outgoing");
    let copy = clients::rclone(&stage, &["copy", outgoing.to_str().unwrap(), "REMOTEin"]).await;
    assert!(copy.status.success(), "{}", clients::said(&copy));
    for name in ["483920_+12125550199.json", "7_+12125550199.json"] {
        assert_eq!(fetched(&stage, name).await["state"], "delivered");
    }
    assert_eq!(stage.delivered(NUMBER).len(), 2);

    let results = stage.path("results");
    let moved = clients::rclone(&stage, &["move", "REMOTEresults", results.to_str().unwrap()]).await;
    assert!(moved.status.success(), "{}", clients::said(&moved));
    assert_eq!(read(&results.join("7_+12125550199.json"))["state"], "delivered");
    let left = clients::sftp(&stage, "ls -1 results\n").await;
    assert!(!clients::said(&left).contains(".json"), "{}", clients::said(&left));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_client_dies_never_counts() {
    let stage = stage().await;
    let mut large = documents::pdf("large", 1);
    large.extend(vec![b'%'; 4 << 20]);
    std::fs::write(stage.path("large.pdf"), large).unwrap();
    // 800 Kbit/s: forty seconds, of which it gets as many as the first bytes need.
    let mut client = clients::slow_sftp(&stage, 800, &format!("put large.pdf in/{STATEMENT}\n")).await;
    stage
        .until("the first bytes are in the spool", async || spooled(&stage.path("data/spool")).then_some(()))
        .await;
    client.kill().await.unwrap();
    stage
        .until("the half file is forgotten", async || (!spooled(&stage.path("data/spool"))).then_some(()))
        .await;
    let listing = clients::sftp(&stage, "ls -1 in\n").await;
    assert!(!clients::said(&listing).contains(STATEMENT), "{}", clients::said(&listing));
    assert!(stage.submissions().await.is_empty());
    // The whole of it counts.
    std::fs::write(stage.path(STATEMENT), documents::pdf("whole", 1)).unwrap();
    let put = clients::sftp(&stage, &format!("put {STATEMENT} in/\n")).await;
    assert!(put.status.success(), "{}", clients::said(&put));
    fetched(&stage, "483920_+12125550199.json").await;
    assert_eq!(stage.submissions().await.len(), 1);
}

/// Whether a document lies in the spool.
fn spooled(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().filter_map(Result::ok).map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            spooled(&path)
        } else {
            !(path.ends_with("key-check") || path.ends_with("visitors"))
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_folder_has_its_result_beside_it() {
    let stage = stage().await;
    std::fs::write(stage.path("scans/mercy-radiology.pdf"), documents::pdf("scan", 1)).unwrap();
    let result = stage.path("scans/results/mercy-radiology.json");
    stage.until("the result beside the drop", async || result.exists().then_some(())).await;
    assert_eq!(read(&result)["state"], "delivered");
    assert_eq!(stage.delivered(NUMBER).len(), 1);
    let names = std::fs::read_dir(stage.path("scans")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "mercy-radiology.pdf"), "it is taken: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_foreign_writer_is_not_taken_half() {
    let stage = stage().await;
    let whole = documents::pdf("slowly", 2);
    let (first, second) = whole.split_at(whole.len() / 2);
    let mut file = std::fs::File::create(stage.path("scans/mercy-radiology.pdf")).unwrap();
    file.write_all(first).unwrap();
    file.sync_all().unwrap();
    // One that is whole, though nobody closed it: once the scan takes it, the half one has been quiet for long enough too.
    let mut other = std::fs::File::create(stage.path("scans/nobody.pdf")).unwrap();
    other.write_all(&documents::pdf("whole", 1)).unwrap();
    stage
        .until("the quiet file is taken", async || (!stage.path("scans/nobody.pdf").exists()).then_some(()))
        .await;
    assert!(stage.path("scans/mercy-radiology.pdf").exists(), "half a file is left alone");
    file.write_all(second).unwrap();
    drop(file);
    let result = stage.path("scans/results/mercy-radiology.json");
    stage.until("the result of the whole", async || result.exists().then_some(())).await;
    assert_eq!(read(&result)["jobs"][0]["pages"], 3, "cover and both pages");
}
