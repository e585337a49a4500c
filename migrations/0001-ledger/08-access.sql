-- Views and grants. On a server where the five roles cannot be had, everything belongs to the one user there is and only
-- the views are made.

-- What users of row-level audit tables know. The plain form of the view lets an UPDATE or DELETE through to the table,
-- whose triggers refuse and record it.
CREATE VIEW public.signal_audit_log AS
  SELECT
    id,
    chain_index,
    signal_id,
    CASE event WHEN 'SignalCreated' THEN 'INSERT' ELSE details ->> 'operation' END AS action,
    old_data::jsonb AS old_data,
    CASE event WHEN 'SignalCreated'
      THEN (SELECT created.body::jsonb FROM public.signals AS created WHERE created.signal_id = audit_entries.signal_id)
      ELSE new_data::jsonb END AS new_data,
    actor AS user_id,
    ip_address,
    recorded_at AS "timestamp",
    session_id,
    request_id,
    outcome,
    verification_hash
  FROM public.audit_entries
  WHERE event = 'SignalCreated' OR (event = 'ModificationRefused' AND resource = 'signals');

-- Sequence position, lock holders and layers, for the health report of a role that may not look itself.
CREATE FUNCTION daybook.foreign_lock_holders() RETURNS TABLE (pid integer, user_name text, held_seconds double precision)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT activity.pid, activity.usename::text, extract(epoch FROM clock_timestamp() - activity.xact_start)::float8
  FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
  WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((held.classid::bigint << 32) | held.objid::bigint) = 7219460237150041
    AND activity.xact_start < clock_timestamp() - interval '5 seconds'
$$;

DO $$
DECLARE
  own_function regprocedure;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application')
     OR current_user <> 'daybook_owner' THEN
    RETURN;
  END IF;
  REVOKE ALL ON SCHEMA public, daybook FROM PUBLIC;
  FOR own_function IN SELECT oid FROM pg_proc AS routine WHERE pronamespace = 'daybook'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = routine.oid AND deptype = 'e')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', own_function);
  END LOOP;
  GRANT USAGE ON SCHEMA public, daybook TO daybook_application, daybook_auditor, daybook_migrator, daybook_attempt_writer;

  GRANT SELECT ON ALL TABLES IN SCHEMA public TO daybook_application, daybook_auditor;
  GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO daybook_application, daybook_auditor;
  -- The application keeps the right to try: a missing grant would refuse before any trigger fires and leave no trace.
  GRANT INSERT, UPDATE, DELETE, TRUNCATE ON public.signals, public.audit_entries TO daybook_application;
  GRANT UPDATE, DELETE ON public.signal_audit_log TO daybook_application;
  GRANT INSERT, UPDATE ON public.api_keys TO daybook_application;
  GRANT INSERT ON public.modification_attempts TO daybook_attempt_writer;

  -- The row triggers run with their owner's rights; what they and the checks call is granted to whoever inserts.
  GRANT EXECUTE ON FUNCTION daybook.lock_ledger(), daybook.is_restoring(), daybook.format_time(timestamptz),
    daybook.reconcile_attempts(), daybook.foreign_lock_holders() TO daybook_application, daybook_auditor;
  REVOKE EXECUTE ON FUNCTION daybook.reconcile_attempts() FROM daybook_auditor;
  GRANT EXECUTE ON FUNCTION daybook.canonical_json(json), daybook.utf16_sort_key(text)
    TO daybook_application, daybook_auditor;
END $$;
