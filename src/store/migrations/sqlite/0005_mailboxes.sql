-- Mailboxes that are fetched, and the tokens that open them.

-- Whose turn it is: a mailbox is fetched by one node at a time.
CREATE TABLE mailbox (
    name          TEXT   NOT NULL PRIMARY KEY, -- of its [imap.NAME] section
    lease_by      TEXT,
    lease_until   BIGINT
);

-- Every mail that was taken out of a mailbox, and where it lies now. UIDs mean something under their UIDVALIDITY only.
CREATE TABLE fetched (
    id             INTEGER NOT NULL PRIMARY KEY,
    mailbox        TEXT   NOT NULL,
    folder         TEXT   NOT NULL,            -- as it is called on the server
    uidvalidity    BIGINT NOT NULL,
    uid            BIGINT NOT NULL,
    to_folder      TEXT,                       -- it is being moved there
    to_uidvalidity BIGINT,
    to_uid_from    BIGINT,                     -- that folder's UIDNEXT before the move: what comes to lie there has no smaller UID
    submission_id  TEXT   REFERENCES submission (id), -- NULL: nothing of it was accepted
    message_id     TEXT,                       -- to find it again
    moved_at       BIGINT,                     -- NULL: it lies where it arrived
    settled        BIGINT NOT NULL DEFAULT 0,  -- 1: its fax has come to an end, and it lies where that says
    fetched_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX fetched_place ON fetched (mailbox, folder, uidvalidity, uid);
CREATE INDEX fetched_open ON fetched (mailbox, id) WHERE settled = 0;
CREATE INDEX fetched_settled ON fetched (mailbox, moved_at) WHERE settled = 1;

-- Refresh tokens that a provider gave in place of the configured one, sealed under the master key.
CREATE TABLE token (
    name          TEXT   NOT NULL PRIMARY KEY, -- of its [oauth.NAME] section
    body          BLOB   NOT NULL,
    kept_at       BIGINT NOT NULL
);
