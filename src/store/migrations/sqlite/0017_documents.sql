-- A submission may have several documents, and a packet several forms.

-- Place among what was received; 1 for every document from before.
ALTER TABLE document ADD COLUMN n BIGINT NOT NULL DEFAULT 1;
-- NULL: a document itself. Else a further form of the packet whose document has this name, with a digest of its own.
ALTER TABLE document ADD COLUMN form_of TEXT;
ALTER TABLE document ADD COLUMN form TEXT;
