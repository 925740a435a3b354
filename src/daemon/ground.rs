//! What a configuration stands on: store, spool, clock, and whatever else outlives a reload.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::listeners::Listeners;
use super::{StartError, upgrade};
use crate::alarm::Alarms;
use crate::clock::{self, Clock as _, SharedClock, SystemClock};
use crate::config::{Fault, Loaded};
use crate::delivery::worker::Hands;
use crate::intake::Arrivals;
use crate::intake::sftp::Seen;
use crate::intake::sftp::Shelves;
use crate::oauth::Sources;
use crate::spool::Spool;
use crate::store::{Store, Wake, within_process};
use crate::vault::MasterKey;

/// Two seconds, in which a child gets its turn on any machine.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The data folder.
    dir: PathBuf,
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) clock: SharedClock,
    pub(super) alarms: Alarms,
    /// Names of open drops that are in memory.
    pub(super) seen: Seen,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) arrived: Arc<dyn Wake>,
    pub(super) made: Arc<dyn Wake>,
    pub(super) answered: Arc<dyn Wake>,
    /// Uploads that clients have not renamed yet.
    pub(super) shelves: Arc<Shelves>,
    /// Jobs in hand, whichever configuration they were taken under.
    pub(super) hands: Arc<Hands>,
    pub(super) listeners: Arc<Listeners>,
    /// One of each for all who need them: a refresh token that is given out anew makes the former one void.
    pub(super) tokens: Arc<Mutex<Sources>>,
    /// This executable, for the processes that open documents.
    pub(super) program: PathBuf,
    /// Held while the files of a configuration are read: one that hangs must not take a thread at every try.
    pub(super) reading: Arc<Semaphore>,
    /// A configuration is at work on it.
    pub(super) serves: Arc<AtomicBool>,
    /// One daemon per data folder, for as long as this is held; `None` for a look, which makes and changes nothing.
    pub(super) lock: Option<Arc<File>>,
}

impl Ground {
    /// Opens what `loaded` names, and makes it at the first start.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn open(loaded: &Loaded, program: PathBuf) -> Result<Ground, StartError> {
        let spool = open_spool(loaded).map_err(StartError::configuration)?;
        let dir = &loaded.config.store.data_dir;
        let lock = lock_data_dir(dir).await?;
        let node = &loaded.config.store.node;
        let store = Store::open(dir, node).await.map_err(|e| StartError::new("database", e))?;
        // Before anything asks what time it is.
        clock::begin(store.clock_seen().await.map_err(|e| StartError::new("database", e))?.as_ref());
        upgrade::seal(&store, spool.vault()).await.map_err(|e| StartError::new("database", e))?;
        meet_origin(dir, &store).await?;
        let dropped = store.drop_own_leases().await.map_err(|e| StartError::new("database", e))?;
        if dropped > 0 {
            tracing::info!(
                leases = dropped,
                "picking up {dropped} things that were in hand when the process ended"
            );
        }
        Ok(Ground::on(dir, store, spool, program, Some(lock)))
    }

    /// The same for a look, beside a daemon or before the first start.
    ///
    /// # Errors
    /// What is wrong with the master key, or with an empty database in memory.
    pub async fn look(loaded: &Loaded) -> Result<Ground, Fault> {
        let dir = &loaded.config.store.data_dir;
        let spool = master_key(loaded).and_then(|key| look_at_spool(dir, key));
        let spool = spool.map_err(|sentence| loaded.fault("store.master_key", sentence))?;
        let store = match Store::look(dir).await {
            Ok(store) => store,
            // What is wrong with it is told elsewhere; here an empty one will do.
            Err(_) => Store::look(&dir.join("no such folder"))
                .await
                .map_err(|e| loaded.fault("store.data_dir", e.to_string()))?,
        };
        Ok(Ground::on(dir, store, spool, PathBuf::new(), None))
    }

    fn on(dir: &Path, store: Store, spool: Spool, program: PathBuf, lock: Option<File>) -> Ground {
        Ground {
            dir: dir.to_owned(),
            store,
            spool,
            clock: Arc::new(SystemClock),
            alarms: Alarms::default(),
            seen: Seen::default(),
            arrivals: Arc::default(),
            arrived: within_process(),
            made: within_process(),
            answered: within_process(),
            shelves: Arc::default(),
            hands: Arc::default(),
            listeners: Arc::default(),
            tokens: Arc::default(),
            program,
            reading: Arc::new(Semaphore::new(1)),
            serves: Arc::default(),
            lock: lock.map(Arc::new),
        }
    }

    /// Where what wants a person is told.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// What time it is.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Whether this is the first start of a process, which must come about even where a folder is not mounted yet.
    pub(super) fn begins(&self) -> bool {
        self.lock.is_some() && !self.serves.load(Ordering::Acquire)
    }

    /// Whether `dir` is the data folder that this is.
    pub(super) fn is_at(&self, dir: &Path) -> bool {
        let one = std::fs::canonicalize(dir);
        one.is_ok_and(|one| std::fs::canonicalize(&self.dir).is_ok_and(|other| one == other))
    }

    /// The token sources that are in use.
    pub(super) fn tokens(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes whether the database was copied back since the last start.
async fn meet_origin(data_dir: &Path, store: &Store) -> Result<(), StartError> {
    let met = store.meet_origin(data_dir, SystemClock.now()).await;
    if let Some(older) = met.map_err(|e| StartError::new(data_dir.display(), e))? {
        tracing::error!(
            "the database in {} is older than it was ({older}): a backup was copied back, or the folder was moved. What it \
             holds may have been faxed already: providers are asked before anything of it is sent, and what cannot be asked is \
             held for a person",
            data_dir.display()
        );
    }
    Ok(())
}

/// The master key that `loaded` names.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn master_key(loaded: &Loaded) -> Result<MasterKey, String> {
    let secret = loaded.config.store.master_key.read_raw().map_err(|e| e.to_string())?;
    MasterKey::from_bytes(secret.bytes()).map_err(|e| e.to_string())
}

/// The spool in `dir` under `master`; nothing is made or changed.
pub(super) fn look_at_spool(dir: &Path, master: MasterKey) -> Result<Spool, String> {
    Spool::look(dir.join("spool"), master).map_err(|e| e.to_string())
}

/// Opens the sealed spool that the configuration names.
///
/// # Errors
/// A sentence for the operator, with how to make a master key where there is none.
pub fn open_spool(loaded: &Loaded) -> Result<Spool, String> {
    let master =
        master_key(loaded).map_err(|sentence| loaded.fault("store.master_key", sentence).to_string())?;
    let dir = &loaded.config.store.data_dir;
    make_private(dir)
        .map_err(|e| loaded.fault("store.data_dir", format!("{}: {e}", dir.display())).to_string())?;
    Spool::open(dir.join("spool"), master).map_err(|e| e.to_string())
}

fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // The database in it, with its numbers and addresses, has the mode that the umask leaves it.
    let mut permissions = std::fs::metadata(dir)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o700);
        std::fs::set_permissions(dir, permissions)?;
    }
    Ok(())
}

/// The lock of the data folder `dir`, for as long as the file is held; `None` where a daemon has it.
///
/// # Errors
/// Where there can be no such file.
pub fn try_to_lock(dir: &Path) -> Result<Option<File>, StartError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| StartError::new(path.display(), e))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

/// Two daemons on one data folder would each take the other's work for the leftovers of a crash.
async fn lock_data_dir(dir: &Path) -> Result<File, StartError> {
    // A process that was killed while it started a child leaves its lock to that child until the child's program begins.
    for _ in 0..LOCK_TRIES {
        if let Some(file) = try_to_lock(dir)? {
            return Ok(file);
        }
        tokio::time::sleep(LOCK_AGAIN).await;
    }
    Err(StartError::new(dir.display(), "another faxbridge is running with this data_dir; stop it first"))
}
