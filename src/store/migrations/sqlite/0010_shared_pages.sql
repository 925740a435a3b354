-- Pages that several jobs of one submission share, what left with each attempt, and whose turn it is to be prepared.

-- NULL: `document` is the packet whole, as it is for every job from before. Else `document` is what the job has of its own (cover,
-- text), and this is the sealed file with the pages behind it. `bytes` and `sha256` are those of the file that leaves, both ways.
ALTER TABLE job ADD COLUMN shared TEXT;

-- The file that left with the attempt: noted with it, before the request.
ALTER TABLE attempt ADD COLUMN bytes BIGINT;
ALTER TABLE attempt ADD COLUMN sha256 TEXT;

-- For each sender the one that has waited longest.
CREATE INDEX submission_turn ON submission (sender, prepare_at, id) WHERE prepare_at IS NOT NULL;
DROP INDEX submission_prepare;
