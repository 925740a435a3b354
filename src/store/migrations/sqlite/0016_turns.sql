-- Whose turn it is at a provider, and which telephone had which mail.

-- The sender's name, as its submission has it.
ALTER TABLE job ADD COLUMN sender TEXT NOT NULL DEFAULT '';
UPDATE job SET sender = COALESCE((SELECT submission.sender FROM submission WHERE submission.id = job.submission_id), '');

-- Of each sender the one that has waited longest, without a walk over those of the others. job_queue stays for who asks when the
-- next is due.
CREATE INDEX job_turn ON job (provider, priority, sender, wake_at, id) WHERE state = 'queued' AND parked = 0;
DROP INDEX job_parked;
CREATE INDEX job_parked ON job (number, provider, priority, sender, wake_at, id) WHERE parked = 1;

-- A mail is faxed to a telephone once, however its address is written and whichever way it comes. The key is a mark of the mail and the
-- number. What proves its sender may leave something open (doubtful): such a mail does not stand for one that leaves nothing open.
CREATE TABLE fax_mark (
    key           TEXT   NOT NULL,
    doubtful      BIGINT NOT NULL,
    submission_id TEXT   NOT NULL,
    job_id        TEXT   NOT NULL,
    accepted_at   BIGINT NOT NULL,           -- when its mail was
    PRIMARY KEY (key, doubtful)
);
CREATE INDEX fax_mark_submission ON fax_mark (submission_id);
CREATE INDEX fax_mark_accepted ON fax_mark (accepted_at);
