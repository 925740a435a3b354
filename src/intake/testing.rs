//! A real intake in a temporary folder, for the tests of the protocols.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Intake;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::job::Source;
use crate::routing::Rules;
use crate::sealed::{ResultFile, SubmissionFacts};
use crate::spool::Spool;
use crate::store::NewResult;
use crate::store::{Store, SubmissionFilter};
use crate::vault::{MasterKey, WrappedKey};

/// An intake and what lies behind it.
pub(super) struct Rig {
    pub(super) intake: Intake,
    pub(super) store: Store,
    pub(super) spool: Spool,
    folder: tempfile::TempDir,
}

impl Rig {
    /// Of the configuration `text`, beside `[organization]` and `[store]`.
    pub(super) async fn new(text: &str) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "{text}\n[organization]\nname = \"Example\"\ncountry = \"US\"\ntime_zone = \"UTC\"\n\
             [store]\ndata_dir = {:?}\nmaster_key = \"env:NONE\"\n",
            folder.path()
        );
        let config: Arc<Config> = Arc::new(toml::from_str(&config).unwrap());
        let master: [u8; 32] = std::array::from_fn(|place| place as u8);
        let spool =
            Spool::open(folder.path().join("spool"), MasterKey::from_bytes(&master).unwrap()).unwrap();
        let store = Store::open(folder.path(), "test").await.unwrap();
        let clock = Arc::new(SystemClock);
        let rules = Arc::new(no_rules());
        let intake = Intake::new(config, store.clone(), spool.clone(), rules, clock, Arc::new(Notify::new()));
        Rig { intake: intake.unwrap(), store, spool, folder }
    }

    /// Name and content of everything accepted from `source`, oldest first.
    pub(super) async fn accepted(&self, source: Source) -> Vec<(String, Vec<u8>)> {
        let filter = SubmissionFilter { source: Some(source), open: false };
        let mut all = Vec::new();
        for submission in self.store.submissions(&filter, 1000).await.unwrap().into_iter().rev() {
            if submission.verdict.is_some() {
                continue;
            }
            let key = self.spool.vault().unwrap_key(&WrappedKey(submission.wrapped_key.unwrap())).unwrap();
            // What was turned away has none.
            let Some(document) = self.store.received(submission.id).await.unwrap().pop() else { continue };
            let body = self.spool.read(&key, &document.name).await.unwrap().read_all(1 << 30).await.unwrap();
            all.push((SubmissionFacts::open(&key, &submission.facts).unwrap().file.unwrap(), body));
        }
        all
    }

    /// Name and reason of everything from `source` that was turned away, oldest first.
    pub(super) async fn turned_away(&self, source: Source) -> Vec<(String, String)> {
        let filter = SubmissionFilter { source: Some(source), open: false };
        let mut all = Vec::new();
        for submission in self.store.submissions(&filter, 1000).await.unwrap().into_iter().rev() {
            let key = self.spool.vault().unwrap_key(&WrappedKey(submission.wrapped_key.unwrap())).unwrap();
            let facts = SubmissionFacts::open(&key, &submission.facts).unwrap();
            all.extend(facts.refusal.map(|reason| (facts.file.unwrap(), reason)));
        }
        all
    }

    /// Puts a result file where an SFTP user finds it.
    pub(super) async fn add_result(&self, user: &str, id: &str, name: &str, body: &[u8]) {
        let sealed = ResultFile::seal(self.spool.vault(), id, name, body).unwrap();
        let result = NewResult { owner: user.to_owned(), sealed };
        self.store.record_sent(id, Some(result), SystemClock.now()).await.unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn no_rules() -> Rules {
    Rules::compile(&[]).unwrap()
}
