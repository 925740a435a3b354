-- Providers that fetch the document from us.
ALTER TABLE attempt ADD COLUMN fetched_at BIGINT;  -- when the whole of it was handed out; it is handed out once
