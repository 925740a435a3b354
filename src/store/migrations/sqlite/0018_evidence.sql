-- What was examined before an Attempt, and what was found: JSON, as policy.rs has it. NULL of those from before.
ALTER TABLE attempt ADD COLUMN evidence TEXT;

-- Not 0: how it ended is a person's word, not its provider's.
ALTER TABLE attempt ADD COLUMN stated BIGINT NOT NULL DEFAULT 0;
UPDATE attempt SET stated = 1 WHERE raw_text = 'stated by a person' AND raw_code IS NULL;
