//! What earlier versions wrote in clear is put under keys at the first start of this one, before anything new is accepted.
//!
//! A migration of the schema cannot do it: only the process knows the key. What cannot be changed stays: receipts are signed as
//! they were made, and the ledger is a chain.
use crate::sealed::SubmissionFacts;
use crate::store::{Former, Store, StoreError};
use crate::vault::{Purpose, Vault, VaultError, WrappedKey};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Goes on where an earlier start was broken off; a database without anything in clear costs a few questions.
pub(super) async fn seal(store: &Store, vault: &Vault) -> Result<(), UpgradeError> {
    let mut sealed = store.key_former_sources(&vault.marker(Purpose::Source)).await?;
    sealed += store.mark_former_digests(&vault.marker(Purpose::Digest)).await?;
    loop {
        let former = store.former_submissions().await?;
        if former.is_empty() {
            break;
        }
        sealed += former.len() as u64;
        let rows = former.into_iter().map(|row| submission(row, vault));
        store.seal_former_submissions(rows.collect::<Result<_, _>>()?).await?;
    }
    loop {
        let former = store.former_message_ids().await?;
        if former.is_empty() {
            break;
        }
        sealed += former.len() as u64;
        let rows = former.into_iter().map(|(id, message_id)| Ok((id, vault.seal_message_id(&message_id)?)));
        store.seal_former_message_ids(rows.collect::<Result<_, VaultError>>()?).await?;
    }
    if sealed > 0 {
        tracing::info!(rows = sealed, "{sealed} rows of an earlier version are sealed or marked");
        // What was overwritten still stands in the database's log.
        store.scrub().await?;
    }
    Ok(())
}

type Sealed = (String, Option<crate::vault::SealedAddress>, Option<Vec<u8>>);

fn submission(row: Former, vault: &Vault) -> Result<Sealed, VaultError> {
    let address = row.receipt_to.as_deref().map(|to| vault.seal_address(to)).transpose()?;
    let facts = match (row.wrapped_key, row.facts, row.message_id) {
        (Some(wrapped), Some(facts), Some(message_id)) => {
            let key = vault.unwrap_key(&WrappedKey(wrapped))?;
            let mut facts = SubmissionFacts::open(&key, &facts)?;
            facts.message_id = Some(message_id);
            Some(facts.seal(&key)?)
        }
        _ => None,
    };
    Ok((row.id, address, facts))
}
