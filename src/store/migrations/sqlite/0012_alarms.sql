-- Alarms, as whoever runs this sees them: open ones, and those that ended a moment ago. No cause holds patient data.
CREATE TABLE alarm (
    id            TEXT   NOT NULL PRIMARY KEY, -- kind and name
    kind          TEXT   NOT NULL,
    name          TEXT,                        -- which of its kind
    cause         TEXT   NOT NULL,
    since         BIGINT NOT NULL,
    over_at       BIGINT,                      -- NULL: it is open
    mails         TEXT   NOT NULL              -- who was told of it by mail, as JSON
);

-- When a mailbox was last looked through to its end.
ALTER TABLE mailbox ADD COLUMN looked_at BIGINT;
