-- Grants, on servers where the roles are separate. The application keeps the right to try what the triggers refuse, so that
-- an attempt leaves its record.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application')
     OR current_user <> 'daybook_owner' THEN
    RETURN;
  END IF;
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.config_contents, public.config_snapshot_files,
    public.config_snapshots TO daybook_application;
  GRANT SELECT ON public.config_contents, public.config_snapshot_files, public.config_snapshots TO daybook_auditor;
END $$;
