//! The real intake in a folder of its own, and nothing that works on what is accepted.

use std::sync::Arc;

use faxbridge::clock::SystemClock;
use faxbridge::config::Config;
use faxbridge::intake::Intake;
use faxbridge::routing::Rules;
use faxbridge::sealed::SubmissionFacts;
use faxbridge::spool::Spool;
use faxbridge::store::{Store, Submission, SubmissionFilter};
use faxbridge::vault::{MasterKey, WrappedKey};
use tempfile::TempDir;
use tokio::sync::Notify;

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) config: Arc<Config>,
    pub(crate) intake: Intake,
    pub(crate) store: Store,
    pub(crate) spool: Spool,
}

impl Bench {
    /// In `folder`, which has the place of `FOLDER` in `sections`.
    pub(crate) async fn open(folder: TempDir, sections: &str) -> Bench {
        let text = format!("{OFFICE}{sections}").replace("FOLDER", folder.path().to_str().unwrap());
        let config: Arc<Config> = Arc::new(toml::from_str(&text).unwrap());
        let store = Store::open(folder.path(), "test").await.unwrap();
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        let spool = Spool::open(folder.path().join("spool"), master).unwrap();
        let rules = Arc::new(Rules::compile(&config.rule).unwrap());
        let (clock, arrived) = (Arc::new(SystemClock), Arc::new(Notify::new()));
        let intake = Intake::new(Arc::clone(&config), store.clone(), spool.clone(), rules, clock, arrived);
        Bench { folder, config, intake: intake.unwrap(), store, spool }
    }

    /// What was accepted, newest first: the Submission, what came in, and what is known of it.
    pub(crate) async fn accepted(&self) -> Vec<(Submission, Vec<u8>, SubmissionFacts)> {
        let mut accepted = Vec::new();
        for submission in self.store.submissions(&SubmissionFilter::default(), 100).await.unwrap() {
            let document = self.store.received(submission.id).await.unwrap().remove(0);
            let wrapped = WrappedKey(submission.wrapped_key.clone().unwrap());
            let key = self.spool.vault().unwrap_key(&wrapped).unwrap();
            let reader = self.spool.read(&key, &document.name).await.unwrap();
            let facts = SubmissionFacts::open(&key, &submission.facts).unwrap();
            accepted.push((submission, reader.read_all(1 << 30).await.unwrap(), facts));
        }
        accepted
    }
}

const OFFICE: &str = r#"
[organization]
name = "Example Clinic"
country = "US"
time_zone = "America/New_York"
[store]
data_dir = "FOLDER"
master_key = "file:FOLDER/master"
"#;
