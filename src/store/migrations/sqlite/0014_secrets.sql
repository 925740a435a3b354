-- What identifies a person or a document goes with the documents' key: it is sealed where a person must read it until then,
-- and a mark under a key derived from the master key where it must only be recognised. Rows have a time of their own.

-- "keyed" tells a mark from a digest that an earlier version recorded; the daemon puts those under the mark when it starts.
-- Without reference to submission: a submission's rows are deleted later than this is forgotten, and one by one.
CREATE TABLE source_mark (
    key           TEXT   NOT NULL PRIMARY KEY,
    submission_id TEXT   NOT NULL,
    accepted_at   BIGINT NOT NULL,
    keyed         BIGINT NOT NULL DEFAULT 1
);
INSERT INTO source_mark (key, submission_id, accepted_at, keyed) SELECT key, submission_id, accepted_at, 0 FROM source_key;
DROP TABLE source_key;
ALTER TABLE source_mark RENAME TO source_key;
CREATE INDEX source_key_accepted ON source_key (accepted_at);
CREATE INDEX source_key_former ON source_key (key) WHERE keyed = 0;
