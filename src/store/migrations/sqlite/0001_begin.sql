-- Times are milliseconds since 1970 UTC. Identifiers are text. Columns named "facts" and "body" are sealed bytes: what is in
-- them goes when the submission's key goes (facts) or is readable with the master key only (body).
-- Only types and clauses that PostgreSQL shares are used (BLOB is BYTEA there), so that its schema is a translation by sed.

CREATE TABLE submission (
    id            TEXT   NOT NULL PRIMARY KEY,
    source        TEXT   NOT NULL,           -- smtp, sftp:USER, folder:NAME, cli
    source_key    TEXT   UNIQUE,             -- recognises the same mail or file; cleared when the window for repeats has passed
    sender        TEXT   NOT NULL,           -- name of the configuration's [[sender]]
    receipt_to    TEXT,                      -- mail address of receipts
    message_id    TEXT,                      -- of the mail, for the thread
    bytes         BIGINT NOT NULL,
    accepted_at   BIGINT NOT NULL,
    wrapped_key   BLOB,                      -- NULL: destroyed, the documents are gone
    facts         BLOB,
    prepare_at    BIGINT,                    -- when to prepare it; NULL: done
    prepare_tries BIGINT NOT NULL DEFAULT 0,
    lease_by      TEXT,
    lease_until   BIGINT,
    verdict       TEXT,                      -- jobs, refused, ignored; NULL: not prepared yet
    final_at      BIGINT,                    -- when its last job ended
    destroyed_at  BIGINT
);
CREATE INDEX submission_prepare ON submission (prepare_at) WHERE prepare_at IS NOT NULL;
CREATE INDEX submission_retention ON submission (final_at) WHERE destroyed_at IS NULL;
CREATE INDEX submission_repeats ON submission (accepted_at) WHERE source_key IS NOT NULL;
CREATE INDEX submission_drops ON submission (source) WHERE final_at IS NULL;

-- Every sealed file in the spool: what was received (job_id NULL) and the packets made of it.
CREATE TABLE document (
    name          TEXT   NOT NULL PRIMARY KEY,
    submission_id TEXT   NOT NULL REFERENCES submission (id),
    job_id        TEXT,
    bytes         BIGINT NOT NULL,
    sha256        TEXT   NOT NULL
);
CREATE INDEX document_submission ON document (submission_id);

CREATE TABLE job (
    id            TEXT   NOT NULL PRIMARY KEY,
    submission_id TEXT   NOT NULL REFERENCES submission (id),
    n             BIGINT NOT NULL,           -- place within its submission, from 1
    recipient     TEXT,                      -- key in the register
    number        TEXT,                      -- E.164; NULL while held for want of one
    rule          TEXT   NOT NULL,
    provider      TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    detail        TEXT   NOT NULL,           -- the state as JSON
    wake_at       BIGINT,                    -- when a worker must look at it; NULL: final
    made_at       BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    final_at      BIGINT,
    news_at       BIGINT,                    -- when a webhook last said that there is news
    version       BIGINT NOT NULL DEFAULT 1, -- a change is saved only where this is what was read
    lease_by      TEXT,
    lease_until   BIGINT,
    document      TEXT,                      -- the packet's name in the spool
    pages         BIGINT,                    -- cover included
    cover_pages   BIGINT,
    bytes         BIGINT,
    sha256        TEXT,                      -- of the packet, hex
    facts         BLOB,
    UNIQUE (submission_id, n)
);
CREATE INDEX job_wake ON job (wake_at) WHERE wake_at IS NOT NULL;
-- One call at a time per number: the second job to be sent to a number breaks this index, whatever the code does.
CREATE UNIQUE INDEX job_line ON job (number) WHERE state IN ('sending', 'in_transit', 'unclear');

CREATE TABLE attempt (
    job_id        TEXT   NOT NULL REFERENCES job (id),
    n             BIGINT NOT NULL,
    reference     TEXT   NOT NULL UNIQUE,    -- ours, as the provider knows it
    provider      TEXT   NOT NULL,
    provider_ref  TEXT,                      -- the provider's
    started_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    outcome       TEXT,
    cause         TEXT,
    pages_sent    BIGINT,
    remote_id     TEXT,
    seconds       BIGINT,
    raw_code      TEXT,
    raw_text      TEXT,
    copy_deleted_at BIGINT,                  -- when the provider's copy was deleted
    PRIMARY KEY (job_id, n)
);
CREATE INDEX attempt_provider_ref ON attempt (provider, provider_ref);
CREATE INDEX attempt_copy ON attempt (ended_at) WHERE copy_deleted_at IS NULL;

CREATE TABLE recipient (
    key           TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    organization  TEXT,
    department    TEXT,
    attention     TEXT,
    number        TEXT   NOT NULL,
    typed         TEXT   NOT NULL,           -- the number as it was typed
    csid          TEXT,
    state         TEXT   NOT NULL,
    state_reason  TEXT,
    verified_how  TEXT,
    evidence      TEXT,
    verified_by   TEXT,
    second_by     TEXT,
    verified_at   BIGINT,
    valid_until   BIGINT,
    notes         TEXT,
    quiet_hours   TEXT,
    voice_count   BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX recipient_number ON recipient (number);

-- Answers to senders that have yet to leave: made in the transaction that causes them, so that none is forgotten.
CREATE TABLE outbox (
    id            TEXT   NOT NULL PRIMARY KEY, -- names cause and way, as final:mail:SUBMISSION: a second one cannot be made
    submission_id TEXT   NOT NULL REFERENCES submission (id),
    job_id        TEXT,                      -- of a notice about one job
    kind          TEXT   NOT NULL,           -- held, final
    way           TEXT   NOT NULL,           -- mail, sftp, folder
    target        TEXT   NOT NULL,           -- address, SFTP user, folder name
    made_at       BIGINT NOT NULL,
    body          BLOB,                      -- what is to be sent, once composed
    next_at       BIGINT,                    -- NULL: sent or given up
    tries         BIGINT NOT NULL DEFAULT 0,
    lease_by      TEXT,
    lease_until   BIGINT,
    sent_at       BIGINT,
    last_error    TEXT
);
CREATE INDEX outbox_next ON outbox (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX outbox_submission ON outbox (submission_id);

-- The signed receipts, kept when the documents are long gone.
CREATE TABLE receipt (
    submission_id TEXT   NOT NULL PRIMARY KEY REFERENCES submission (id),
    made_at       BIGINT NOT NULL,
    body          TEXT   NOT NULL            -- JSON without patient data, with its signature
);

-- Result files that SFTP users pick up from results/.
CREATE TABLE result (
    id            TEXT   NOT NULL PRIMARY KEY,
    owner         TEXT   NOT NULL,           -- SFTP user
    body          BLOB   NOT NULL,           -- name and content, sealed
    made_at       BIGINT NOT NULL
);
CREATE INDEX result_owner ON result (owner);

-- What happened, and who did it; each row's hash covers the row before.
CREATE TABLE ledger (
    seq           BIGINT NOT NULL PRIMARY KEY,
    at            BIGINT NOT NULL,
    actor         TEXT   NOT NULL,
    submission_id TEXT,
    job_id        TEXT,
    event         TEXT   NOT NULL,
    detail        TEXT   NOT NULL,
    hash          TEXT   NOT NULL
);
CREATE INDEX ledger_job ON ledger (job_id);

-- Where each provider was reached last: another address under the same name must not be asked about faxes it never saw.
CREATE TABLE provider (
    name          TEXT   NOT NULL PRIMARY KEY,
    url           TEXT   NOT NULL
);
