-- Real providers: what is known of a fax before it is sent.
ALTER TABLE attempt ADD COLUMN kept_ref TEXT;  -- the provider's name for it, kept before the provider was told to send it
