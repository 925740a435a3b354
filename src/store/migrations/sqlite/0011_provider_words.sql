-- What providers say by themselves, and whether the database may have forgotten what was done.

ALTER TABLE attempt ADD COLUMN news_at BIGINT;    -- when a webhook last spoke of it: the provider has it, whatever its list shows
ALTER TABLE attempt ADD COLUMN told TEXT;         -- how it ended by a signed webhook, as JSON, until its job has followed that
ALTER TABLE attempt ADD COLUMN hints TEXT;        -- names of the fax by unsigned webhooks, as JSON, to be verified
-- 1: the database was copied back, and the provider was asked whether it has this attempt; nothing was sent by it.
ALTER TABLE attempt ADD COLUMN asked_first BIGINT NOT NULL DEFAULT 0;

-- Where this database belongs, and how far it has come; files beside it say the same. It has one row.
CREATE TABLE origin (
    one           BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    marker        TEXT,                      -- which file the marker beside it was; NULL: not met yet
    attempts      BIGINT NOT NULL,           -- attempts that were ever opened
    restored_at   BIGINT                     -- when it was last found to be older than it was
);
INSERT INTO origin (one, marker, attempts, restored_at) VALUES (1, NULL, (SELECT COUNT(*) FROM attempt), NULL);
