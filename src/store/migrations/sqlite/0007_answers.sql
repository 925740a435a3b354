-- Answers that say "nothing was faxed" are counted per address: two machines must not keep writing to each other.
ALTER TABLE outbox ADD COLUMN refusal BIGINT NOT NULL DEFAULT 0;
CREATE INDEX outbox_refusals ON outbox (target, made_at) WHERE refusal = 1;
