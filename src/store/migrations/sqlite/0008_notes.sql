-- Answers about a file that came before: which file, sealed under the master key, since its submission's key may be gone.
ALTER TABLE outbox ADD COLUMN note BLOB;
