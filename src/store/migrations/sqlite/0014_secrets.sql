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

-- Who vouched for a number is an account of the system; what is called verified_by and second_by is what receipts call them.
ALTER TABLE recipient ADD COLUMN verified_account TEXT;
ALTER TABLE recipient ADD COLUMN second_account TEXT;

-- The address of receipts: sealed under the master key until the documents are destroyed or the answer has left, and its mark.
-- receipt_to and message_id stay without use (a Message-ID is among the sealed facts); what earlier versions wrote there is
-- sealed at the first start. For a mail, outbox.target is the mark.
ALTER TABLE submission ADD COLUMN answer_to BLOB;
ALTER TABLE submission ADD COLUMN answer_mark TEXT;
ALTER TABLE outbox ADD COLUMN address BLOB;
ALTER TABLE fetched ADD COLUMN sealed_message_id BLOB;

-- Digests of documents: where no receipt states them, they are marks. Of what was received, nobody asked for more.
UPDATE document SET sha256 = '' WHERE job_id IS NULL;
-- The providers' own words go with the documents' key; cause and code stay.
UPDATE attempt SET raw_text = NULL WHERE raw_text IS NOT NULL AND job_id IN
    (SELECT job.id FROM job JOIN submission ON submission.id = job.submission_id WHERE submission.destroyed_at IS NOT NULL);

-- A result file that waits to be picked up is sealed under a key of its own, which goes with it. NULL: of an earlier version, under the
-- master key.
ALTER TABLE result ADD COLUMN wrapped_key BLOB;
CREATE INDEX result_made ON result (made_at);

-- Rows are deleted retention.records after their documents. Receipts stay: they refer to rows that are gone.
CREATE TABLE proof (
    submission_id TEXT   NOT NULL PRIMARY KEY,
    made_at       BIGINT NOT NULL,
    body          TEXT   NOT NULL            -- JSON without patient data, with its signature
);
INSERT INTO proof (submission_id, made_at, body) SELECT submission_id, made_at, body FROM receipt;
DROP TABLE receipt;
ALTER TABLE proof RENAME TO receipt;
CREATE INDEX receipt_made ON receipt (made_at);
CREATE INDEX submission_records ON submission (destroyed_at) WHERE destroyed_at IS NOT NULL;
CREATE INDEX fetched_submission ON fetched (submission_id);
