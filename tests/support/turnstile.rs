//! Most stories run side by side. A story that holds the program to what this machine can do needs the
//! machine for itself.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

static MACHINE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

/// What a stage holds as long as it stands.
#[derive(Debug)]
pub(super) enum Pass {
    Beside(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

/// Waits until no story is alone.
pub(super) async fn beside() -> Pass {
    Pass::Beside(MACHINE.clone().read_owned().await)
}

/// Waits until there is no other stage, and lets nobody set one.
pub(super) async fn alone() -> Pass {
    Pass::Alone(MACHINE.clone().write_owned().await)
}
