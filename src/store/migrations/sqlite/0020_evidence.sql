-- What was examined before an Attempt, and what was found: JSON, as policy.rs has it. NULL of those from before.
ALTER TABLE attempt ADD COLUMN evidence TEXT;
