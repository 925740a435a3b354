-- What was read out of texts and versions has columns of its own.
ALTER TABLE attempt ADD COLUMN stated BIGINT NOT NULL DEFAULT 0;  -- not 0: a person said what it came to
UPDATE attempt SET stated = 1 WHERE raw_text = 'stated by a person';
ALTER TABLE job ADD COLUMN as_made BIGINT NOT NULL DEFAULT 0;     -- not 0: held as it was made, or expired from that
UPDATE job SET as_made = 1 WHERE state = 'held' AND (version = 1 OR version =
    (SELECT COUNT(*) FROM ledger WHERE ledger.job_id = job.id AND ledger.event = 'held'));
UPDATE job SET as_made = 1 WHERE state = 'failed' AND detail LIKE '%"cause":"expired"%' AND facts IS NOT NULL
    AND (version = 2 OR version =
        (SELECT COUNT(*) + 1 FROM ledger WHERE ledger.job_id = job.id AND ledger.event = 'held'));
