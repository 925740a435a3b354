//! The command line, by the real program: exit status, sentences, shapes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder with a configuration that stands on its own.
struct Office {
    dir: tempfile::TempDir,
}

impl Office {
    fn new() -> Self {
        let office = Office { dir: tempfile::tempdir().unwrap() };
        let dir = office.dir.path();
        std::fs::write(dir.join("master.key"), [7; 32]).unwrap();
        std::fs::write(dir.join("provider.token"), "token").unwrap();
        std::fs::write(dir.join("webhook.key"), "key").unwrap();
        std::fs::create_dir(dir.join("scans")).unwrap();
        // Nobody listens on port 9 of this machine: what is asked there is refused at once.
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGUgb25seTogcHV0IHlvdXIga2V5IGhlcmUh billing@ledger";
        let text = faxbridge::config::DEMO
            .replace("DEMO_DIR", &dir.display().to_string())
            .replace("DEMO_KEY", key)
            .replace("DEMO_PROVIDER", "http://127.0.0.1:9")
            .replace("DEMO_RELAY", "127.0.0.1:9");
        std::fs::write(office.config(), text).unwrap();
        office
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("faxbridge.toml")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(arguments
            .iter()
            .map(ToString::to_string)
            .chain(["--config".into(), self.config().display().to_string()]))
    }

    fn mail(&self, name: &str, to: &str) -> PathBuf {
        let pdf = std::fs::read(fixture("three-pages.pdf")).unwrap();
        let mail = format!(
            "From: Jane <jane@clinic.example>\r\nTo: {to}\r\nSubject: =?utf-8?Q?M=C3=BCller?=\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\n\
             Content-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
            lines(&pdf)
        );
        let path = self.dir.path().join(name);
        std::fs::write(&path, mail).unwrap();
        path
    }
}

fn lines(bytes: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// What a command came to.
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{}{}", self.out, self.err);
        self
    }

    fn records(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn run(arguments: impl IntoIterator<Item = String>) -> Ran {
    Command::new(env!("CARGO_BIN_EXE_faxbridge")).args(arguments).output().unwrap().into()
}

#[test]
fn the_sample_is_a_configuration() {
    let office = Office::new();
    let sample = run(["config".into(), "sample".into()]).ok().out;
    std::fs::write(office.config(), sample).unwrap();
    // Its secrets are systemd's; everything in the file itself is right.
    let checked = office.run(&["check"]);
    assert!(checked.out.contains("every key is known"), "{}", checked.out);
}

#[test]
fn a_wrong_key_is_named_with_its_line_and_ends_with_2() {
    let office = Office::new();
    let text = std::fs::read_to_string(office.config()).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("hostname")).unwrap();
    std::fs::write(office.config(), text.replace("hostname", "hostnam")).unwrap();
    for arguments in
        [&["check"][..], &["job", "list"], &["recipient", "list"], &["preview", "--out", "x", "y"]]
    {
        let ran = office.run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}");
        let told = format!("{}:{line}: smtp.hostnam: unknown key", office.config().display());
        assert!(format!("{}{}", ran.out, ran.err).contains(&told), "{arguments:?}: {}{}", ran.out, ran.err);
    }
    assert!(!office.dir.path().join("data").exists());
}

#[test]
fn a_missing_master_key_is_told_with_how_to_make_one() {
    let office = Office::new();
    std::fs::remove_file(office.dir.path().join("master.key")).unwrap();
    for arguments in [&["check"][..], &["job", "list"], &["send", "--to", "x", "--from", "scans", "y.pdf"]] {
        let ran = office.run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}");
        let told = format!("{}{}", ran.out, ran.err);
        assert!(told.contains("store.master_key: there is no file"), "{arguments:?}: {told}");
        assert!(told.contains("head -c 32 /dev/urandom"), "{arguments:?}: {told}");
    }
}

#[test]
fn check_says_what_is_wrong_and_changes_nothing() {
    let office = Office::new();
    let ran = office.run(&["check", "--json"]);
    assert_eq!(ran.status, 1, "a provider that is down keeps no daemon from starting");
    let faults: Vec<String> = ran
        .records()
        .iter()
        .filter(|record| record["level"] == "fault")
        .map(|record| record["sentence"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].contains("provider.simulator.url") && faults[1].contains("receipt.relay"),
        "{faults:?}"
    );
    assert!(!office.dir.path().join("data").exists());
}

#[test]
fn recipients_are_added_verified_listed_and_travel_as_a_list() {
    let office = Office::new();
    let added =
        office.run(&["recipient", "add", "--name", "Mercy Radiology", "--number", "(212) 555-0100"]).ok();
    assert!(added.out.contains("Added mercy-radiology"), "{}", added.out);
    assert_eq!(
        office.run(&["recipient", "add", "--name", "Mercy Radiology", "--number", "+12125550199"]).status,
        1
    );
    let wrong = office.run(&["recipient", "add", "--name", "Police", "--number", "911"]);
    assert_eq!(wrong.status, 2);
    assert!(wrong.err.contains("emergency"), "{}", wrong.err);

    let verify =
        ["recipient", "verify", "mercy-radiology", "--how", "call-back", "--evidence", "Ann", "--by", "jane"];
    office.run(&verify).ok();
    let list = office.run(&["recipient", "list", "--json"]).ok().records();
    assert_eq!(
        (list.len(), &list[0]["state"], &list[0]["number"]),
        (1, &"verified".into(), &"+12125550100".into())
    );
    let near = office.run(&["recipient", "add", "--name", "Mercy Two", "--number", "+12125550101"]).ok();
    assert!(near.err.contains("likely slip") && near.err.contains("mercy-radiology"), "{}", near.err);

    let other = Office::new();
    let exported = office.run(&["recipient", "export"]).ok().out;
    let file = other.dir.path().join("list.csv");
    let path = file.display().to_string();
    std::fs::write(&file, format!("{exported}Bad,12,x,,,,,\r\n")).unwrap();
    let refused = other.run(&["recipient", "import", &path]);
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("list.csv: line 4:"), "{}", refused.err);
    assert!(other.run(&["recipient", "list", "--json"]).ok().records().is_empty(), "all or none");
    std::fs::write(&file, &exported).unwrap();
    other.run(&["recipient", "import", &path]).ok();
    assert_eq!(other.run(&["recipient", "export"]).ok().out, exported);
    let states = other.run(&["recipient", "list", "--json"]).ok().records();
    assert!(
        states.iter().all(|entry| entry["state"] == "unverified"),
        "verifications do not travel: {states:?}"
    );

    office.run(&["recipient", "suspend", "mercy-radiology", "--reason", "moved"]).ok();
    let shown = office.run(&["recipient", "show", "mercy-radiology"]).ok().out;
    assert!(shown.contains("suspended: moved"), "{shown}");
}

#[test]
fn quiet_hours_are_given_changed_shown_and_travel_with_the_list() {
    let office = Office::new();
    let add = |name, number, hours| {
        office.run(&["recipient", "add", "--name", name, "--number", number, "--quiet-hours", hours])
    };
    add("Mercy", "+12125550100", "22:00-07:00;sat-sun america/chicago").ok();
    add("Grace", "+12125550177", "Mon-Sat; Sun 00:00-12:00 UTC").ok();
    let refused = add("Hope", "+12125550188", "Mon-Sun");
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("cover the whole week"), "{}", refused.err);
    let quiet = |entry: &str| {
        let shown = office.run(&["recipient", "show", entry, "--json"]).ok().records();
        shown[0]["quiet_hours"].clone()
    };
    assert_eq!(quiet("mercy"), "22:00-07:00; Sat-Sun America/Chicago");

    let told = office.run(&["recipient", "quiet", "mercy", "Sun"]).ok().out;
    assert!(told.contains("mercy is not called Sun"), "{told}");
    assert_eq!(quiet("mercy"), "Sun");
    let refused = office.run(&["recipient", "quiet", "mercy", "at night"]);
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("allowed: days (Sat-Sun)"), "{}", refused.err);
    assert_eq!(quiet("mercy"), "Sun", "a fault changes nothing");
    let list = office.run(&["recipient", "list"]).ok().out;
    assert!(list.contains("QUIET HOURS") && list.contains("Mon-Sat; Sun 00:00-12:00 UTC"), "{list}");
    let shown = office.run(&["recipient", "show", "grace"]).ok().out;
    assert!(shown.contains("quiet hours    Mon-Sat; Sun 00:00-12:00 UTC"), "{shown}");

    let other = Office::new();
    let exported = office.run(&["recipient", "export"]).ok().out;
    let file = other.dir.path().join("list.csv");
    std::fs::write(&file, &exported).unwrap();
    other.run(&["recipient", "import", &file.display().to_string()]).ok();
    let hours: Vec<_> = other.run(&["recipient", "list", "--json"]).ok().records();
    let hours: Vec<_> = hours.iter().map(|entry| entry["quiet_hours"].as_str()).collect();
    assert_eq!(hours, [Some("Mon-Sat; Sun 00:00-12:00 UTC"), Some("Sun")]);

    office.run(&["recipient", "quiet", "mercy", "none"]).ok();
    assert_eq!(quiet("mercy"), serde_json::Value::Null);
}

#[test]
fn two_persons_verify_where_the_policy_says_so() {
    let office = Office::new();
    let text = std::fs::read_to_string(office.config()).unwrap();
    std::fs::write(office.config(), text.replace("[policy]", "[policy]\ntwo_person = true")).unwrap();
    office.run(&["recipient", "add", "--name", "Mercy", "--number", "+12125550100"]).ok();
    // As sudo leaves it for a command that it runs as root; USER is anybody's to set.
    let verify = |uid: &str, name: &str| {
        let config = office.config().display().to_string();
        let arguments = [
            "recipient",
            "verify",
            "mercy",
            "--how",
            "letter",
            "--evidence",
            "x",
            "--by",
            name,
            "--config",
            &config,
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_faxbridge"));
        let ran = command.args(arguments).env("SUDO_UID", uid).env("SUDO_USER", name).env("USER", name);
        Ran::from(ran.output().unwrap())
    };
    assert!(rustix::process::geteuid().is_root(), "only root is believed whom sudo names");
    assert!(verify("4001", "jane").ok().out.contains("second person"));
    assert_eq!(verify("4002", "Jane").status, 2, "one person is not two");
    let typed = verify("4001", "bob");
    assert_eq!(typed.status, 2, "two names of one account are one person");
    assert!(typed.err.contains("jane has verified this number already"), "{}", typed.err);
    assert!(verify("4002", "bob").ok().out.contains("faxes may be sent there"));
    let shown = office.run(&["recipient", "show", "mercy"]).ok().out;
    assert!(shown.contains("jane, under uid:4001") && shown.contains("bob, under uid:4002"), "{shown}");
}

#[test]
fn preview_tells_each_input_in_the_promised_shape() {
    let office = Office::new();
    office.run(&["recipient", "add", "--name", "Mercy Radiology", "--number", "+12125550100"]).ok();
    office
        .run(&[
            "recipient",
            "verify",
            "mercy-radiology",
            "--how",
            "letter",
            "--evidence",
            "x",
            "--by",
            "jane",
        ])
        .ok();
    let out = office.dir.path().join("out");
    let good = office.mail("good.eml", "mercy-radiology@fax.clinic.example").display().to_string();
    let unknown = office.mail("unknown.eml", "+12125550177@fax.clinic.example").display().to_string();
    let astray = office.mail("astray.eml", "someone@elsewhere.example").display().to_string();
    let before = std::fs::read(office.dir.path().join("data/faxbridge.db")).unwrap();
    let ran = office.run(&[
        "preview",
        "--json",
        "--dpi",
        "30",
        "--out",
        &out.display().to_string(),
        &good,
        &unknown,
        &astray,
        "none.pdf",
    ]);
    // What is missing is an error, and keeps no other input from its verdict.
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("one input is not there"), "{}", ran.err);

    assert_eq!(std::fs::read(office.dir.path().join("data/faxbridge.db")).unwrap(), before);
    let shown = ran.records();
    let verdicts: Vec<&str> = shown.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["ready", "held", "refused", "refused"], "{}", ran.out);

    let keys: Vec<&str> = shown[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut promised = ["input", "verdict", "reason", "subject", "from", "parts", "packet", "jobs"];
    promised.sort_unstable();
    let mut found = keys.clone();
    found.sort_unstable();
    assert_eq!(found, promised);
    assert_eq!(shown[0]["reason"], Value::Null);
    assert_eq!(shown[0]["subject"], "M\u{fc}ller");
    assert_eq!(shown[0]["from"], "jane@clinic.example");
    let scan = shown[0]["parts"].as_array().unwrap().iter().find(|part| part["name"] == "scan.pdf").unwrap();
    assert_eq!(
        (&scan["kind"], &scan["pages"], &scan["left_out"]),
        (&"pdf".into(), &serde_json::json!([2, 4]), &Value::Null)
    );
    assert_eq!(shown[0]["packet"], serde_json::json!({"pdf": "good.pdf", "pages": 4, "cover_pages": 1}));
    assert_eq!(
        shown[0]["jobs"],
        serde_json::json!([{"recipient": "mercy-radiology", "number": "+12125550100", "rule": "named recipient", "held": null}])
    );
    // The pages can be looked at also where nobody gets them.
    for name in ["good", "unknown", "astray"] {
        assert!(std::fs::read(out.join(format!("{name}.pdf"))).unwrap().starts_with(b"%PDF"), "{name}");
        assert!(
            std::fs::read(out.join(format!("{name}-page-004.png"))).unwrap().starts_with(b"\x89PNG"),
            "{name}"
        );
    }
    let held = shown[1]["jobs"][0]["held"].as_str().unwrap();
    assert_eq!(shown[1]["reason"].as_str(), Some(held));
    assert!(shown[3]["packet"].is_null() && shown[3]["reason"].as_str().unwrap().contains("cannot be read"));
}

#[test]
fn every_fixture_gets_a_verdict() {
    let office = Office::new();
    office.run(&["recipient", "add", "--name", "Mercy", "--number", "+12125550100"]).ok();
    office.run(&["recipient", "verify", "mercy", "--how", "letter", "--evidence", "x", "--by", "jane"]).ok();
    let out = office.dir.path().join("out").display().to_string();
    let folder = fixture("").display().to_string();
    let ran = office
        .run(&["preview", "--json", "--no-pictures", "--out", &out, "--recipient", "mercy", &folder])
        .ok();
    let shown = ran.records();
    let verdict = |name: &str| {
        let line = shown.iter().find(|line| line["input"].as_str().unwrap().ends_with(name)).unwrap();
        assert_eq!(line["packet"].is_null(), line["verdict"] != "ready", "{line}");
        (line["verdict"].as_str().unwrap().to_owned(), line["packet"]["pages"].as_u64())
    };
    for (name, expected, pages) in [
        ("three-pages.pdf", "ready", Some(4)),
        ("owner-password.pdf", "ready", Some(4)),
        ("rotated.pdf", "ready", Some(3)),
        ("empty.pdf", "refused", None),
        ("encrypted.pdf", "held", None),
        ("truncated.pdf", "held", None),
        ("text-named.pdf", "held", None),
    ] {
        assert_eq!(verdict(name), (expected.to_owned(), pages), "{name}");
    }
}

#[test]
fn usage_ends_with_2_and_a_missing_thing_with_1() {
    let office = Office::new();
    assert_eq!(run(["no-such-command".to_owned()]).status, 2);
    assert_eq!(office.run(&["job", "show", "no id"]).status, 2);
    let both = office.run(&["job", "resolve", "0000000000000000", "--delivered", "--not-delivered"]);
    assert_eq!(both.status, 2, "one or the other");
    assert_eq!(office.run(&["job", "show", "0000000000000000"]).status, 1);
    assert_eq!(office.run(&["recipient", "show", "nobody"]).status, 1);
    assert!(office.run(&["job", "list", "--json"]).ok().out.is_empty());
    let sent = office.run(&["send", "--to", "x", "--from", "nobody", "x.pdf"]);
    assert_eq!(sent.status, 2);
    assert!(sent.err.contains("front desk"), "the senders there are: {}", sent.err);
}

#[test]
fn what_is_sent_without_a_daemon_is_kept_and_said_so() {
    let office = Office::new();
    let pdf = fixture("three-pages.pdf").display().to_string();
    let sent = office.run(&["send", "--to", "mercy", "--from", "scans", "--no-wait", &pdf]).ok();
    assert!(sent.err.contains("no daemon is running"), "{}", sent.err);
    let id = sent.out.trim().rsplit(' ').next().unwrap().to_owned();
    let shown = office.run(&["job", "show", &id, "--json"]).ok().records();
    assert_eq!((&shown[0]["submission"], &shown[0]["verdict"]), (&id.into(), &Value::Null));
    assert_eq!(office.run(&["send", "--to", "mercy", "--from", "scans", &pdf]).status, 1);
}

#[test]
fn limits_that_are_lower_already_are_kept() {
    let office = Office::new();
    let mail = office.mail("a.eml", "mercy-radiology@fax.clinic.example");
    let (out, config) = (office.dir.path().join("out"), office.config());
    // As `ulimit` in a shell or LimitCPU of a unit leave them: lower than what a document worker asks for itself.
    let script = "ulimit -t 30; ulimit -n 64; ulimit -c 0; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_faxbridge"), "preview", "--json", "--out"]);
    command.args([&out, &mail]).arg("--config").arg(config);
    let ran = Ran::from(command.output().unwrap()).ok();
    assert_eq!(ran.records()[0]["packet"]["pages"], 4, "{}{}", ran.out, ran.err);
}
