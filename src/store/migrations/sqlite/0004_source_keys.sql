-- A mail is recognised for each of its recipients: a client that saw no answer may split it, or send it another way.
CREATE TABLE source_key (
    key           TEXT   NOT NULL PRIMARY KEY,
    submission_id TEXT   NOT NULL REFERENCES submission (id),
    accepted_at   BIGINT NOT NULL
);
CREATE INDEX source_key_accepted ON source_key (accepted_at);

-- What was recognised as a whole so far stays recognised as a whole. The old column stays too, without use: SQLite drops no
-- column that is unique.
INSERT INTO source_key (key, submission_id, accepted_at)
    SELECT source_key, id, accepted_at FROM submission WHERE source_key IS NOT NULL;
UPDATE submission SET source_key = NULL WHERE source_key IS NOT NULL;
DROP INDEX submission_repeats;

-- Every submission that is accepted was entered into these two, which are only asked about others.
DROP INDEX submission_retention;
CREATE INDEX submission_retention ON submission (final_at) WHERE destroyed_at IS NULL AND final_at IS NOT NULL;
DROP INDEX ledger_job;
CREATE INDEX ledger_job ON ledger (job_id) WHERE job_id IS NOT NULL;
