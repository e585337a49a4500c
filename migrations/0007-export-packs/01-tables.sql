-- Evidence packs that were made: one for each day, further ones of a day that was not over. The packs themselves are files.
CREATE TABLE public.export_packs (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  id uuid PRIMARY KEY,
  date date NOT NULL,
  kind text NOT NULL CONSTRAINT export_packs_kind_known CHECK (kind IN ('DAY', 'PARTIAL')),
  created_at timestamptz NOT NULL,
  created_by text NOT NULL CONSTRAINT export_packs_created_by_length CHECK (char_length(created_by) BETWEEN 1 AND 200),
  -- SHA-256 of manifest.json as it was written.
  manifest_hash bytea NOT NULL CONSTRAINT export_packs_manifest_hash_size CHECK (octet_length(manifest_hash) = 32),
  files integer NOT NULL CONSTRAINT export_packs_files_range CHECK (files > 0),
  bytes bigint NOT NULL CONSTRAINT export_packs_bytes_range CHECK (bytes >= 0),
  signals bigint NOT NULL CONSTRAINT export_packs_signals_range CHECK (signals >= 0),
  audit_entries bigint NOT NULL CONSTRAINT export_packs_audit_entries_range CHECK (audit_entries >= 0)
);
-- A day's pack is made once and never edited.
CREATE UNIQUE INDEX export_packs_day ON public.export_packs (date) WHERE kind = 'DAY';

CREATE TRIGGER prevent_modification_trigger BEFORE UPDATE OR DELETE ON public.export_packs
  FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification();
CREATE TRIGGER prevent_modification_without_rows_trigger AFTER UPDATE OR DELETE ON public.export_packs
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification();
CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.export_packs
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification();
ALTER TABLE public.export_packs ENABLE ALWAYS TRIGGER prevent_modification_trigger;
ALTER TABLE public.export_packs ENABLE ALWAYS TRIGGER prevent_modification_without_rows_trigger;
ALTER TABLE public.export_packs ENABLE ALWAYS TRIGGER prevent_truncation_trigger;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application') AND current_user = 'daybook_owner' THEN
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.export_packs TO daybook_application;
    GRANT SELECT ON public.export_packs TO daybook_auditor;
  END IF;
END $$;
