-- Why nothing of a fetched mail was accepted, for the list of such mails: one of our own sentences, without anything of the mail.
ALTER TABLE fetched ADD COLUMN reason TEXT;
CREATE INDEX fetched_refused ON fetched (fetched_at) WHERE reason IS NOT NULL;
