-- Real providers: what is known of a fax before it is sent; routes over several of them; whole queues without a walk.

ALTER TABLE attempt ADD COLUMN kept_ref TEXT;  -- the provider's name for it, kept before the provider was told to send it

-- The provider's copy: there, deleted, or kept by a provider that deletes nothing.
ALTER TABLE attempt ADD COLUMN copy TEXT NOT NULL DEFAULT 'there';
UPDATE attempt SET copy = 'deleted' WHERE copy_deleted_at IS NOT NULL;
DROP INDEX attempt_copy;
CREATE INDEX attempt_copy ON attempt (ended_at) WHERE copy = 'there' AND provider_ref IS NOT NULL;

ALTER TABLE job ADD COLUMN route TEXT;         -- providers in order, as JSON; NULL: the one it has
ALTER TABLE job ADD COLUMN cancel TEXT;        -- a person's wish to cancel it while a call may be under way, and what came of it
-- A queued job that found its number's line taken is parked: no claim looks at it until the line is free, so that five hundred
-- jobs to one busy number cost the others nothing.
ALTER TABLE job ADD COLUMN parked BIGINT NOT NULL DEFAULT 0;

DROP INDEX job_wake;
CREATE INDEX job_queue ON job (provider, wake_at, id) WHERE state = 'queued' AND parked = 0;
CREATE INDEX job_parked ON job (number, provider, wake_at, id) WHERE parked = 1;
CREATE INDEX job_expiry ON job (deadline) WHERE state = 'queued';
CREATE INDEX job_asked ON job (provider, wake_at) WHERE wake_at IS NOT NULL AND state <> 'queued';

-- What is known of a telephone line: calls that failed in a row, and until when nobody calls it.
CREATE TABLE line (
    number        TEXT   NOT NULL PRIMARY KEY,
    failed        BIGINT NOT NULL,
    rest_until    BIGINT NOT NULL
);

-- How each provider fares, for people to see; the daemon itself keeps it in memory.
ALTER TABLE provider ADD COLUMN condition TEXT NOT NULL DEFAULT 'good';  -- good, resting
ALTER TABLE provider ADD COLUMN cause TEXT;                              -- why it rests
ALTER TABLE provider ADD COLUMN detail TEXT;                             -- the same as it told it
ALTER TABLE provider ADD COLUMN since BIGINT;                            -- since when it is so
ALTER TABLE provider ADD COLUMN rests_until BIGINT;                      -- when it is tried again
