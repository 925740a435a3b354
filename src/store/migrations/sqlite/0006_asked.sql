-- What senders ask for: how urgent, and not before when.

ALTER TABLE job ADD COLUMN priority BIGINT NOT NULL DEFAULT 1;  -- 0 high, 1 normal, 2 low
ALTER TABLE job ADD COLUMN send_at BIGINT;                      -- not before; NULL: at once

-- A queue for each urgency, so that a claim finds the first of each without a walk over those that wait for a later time.
DROP INDEX job_queue;
CREATE INDEX job_queue ON job (provider, priority, wake_at, id) WHERE state = 'queued' AND parked = 0;
DROP INDEX job_parked;
CREATE INDEX job_parked ON job (number, provider, priority, wake_at, id) WHERE parked = 1;
