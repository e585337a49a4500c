-- These tables only grow: UPDATE, DELETE and TRUNCATE are refused as on the logs, on the record (0001-ledger/06-refusal.sql).
DO $$
DECLARE
  grown text;
BEGIN
  FOREACH grown IN ARRAY ARRAY['config_contents', 'config_snapshot_files', 'config_snapshots'] LOOP
    EXECUTE format('CREATE TRIGGER prevent_modification_trigger BEFORE UPDATE OR DELETE ON public.%I
      FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('CREATE TRIGGER prevent_modification_without_rows_trigger AFTER UPDATE OR DELETE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_modification_trigger', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_modification_without_rows_trigger', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_truncation_trigger', grown);
  END LOOP;
END $$;
