DO $$
DECLARE
  own_function regprocedure;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application') OR current_user <> 'daybook_owner' THEN
    RETURN;
  END IF;
  FOR own_function IN SELECT oid FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
    AND proname IN ('lock_retention', 'is_told', 'archive_statement', 'guard_archive', 'guard_legal_hold', 'guard_restored_entry', 'set_retention',
      'first_kept_index', 'tell_again', 'purge_entries')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', own_function);
  END LOOP;
  GRANT SELECT ON public.retention_policies, public.log_archives, public.legal_holds, public.restored_entries
    TO daybook_application, daybook_auditor, daybook_migrator;
  GRANT INSERT, UPDATE, DELETE, TRUNCATE ON public.log_archives, public.legal_holds, public.restored_entries
    TO daybook_application;
  GRANT EXECUTE ON FUNCTION daybook.first_kept_index() TO daybook_application, daybook_auditor;
  GRANT EXECUTE ON FUNCTION daybook.purge_entries(bigint, text) TO daybook_application;
  GRANT EXECUTE ON FUNCTION daybook.set_retention(interval, interval) TO daybook_migrator;
END $$;
