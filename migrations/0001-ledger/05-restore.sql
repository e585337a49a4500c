-- A declared restore: in one transaction the migrator declares it, loads both logs with all their ledger columns, and
-- finishes it. Each supplied column is compared with what the triggers derive, so a restore cannot bring in altered rows.
-- A crash before the commit leaves both logs empty.

CREATE FUNCTION daybook.declare_restore(reason text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF session_user <> 'daybook_migrator' AND pg_get_userbyid((SELECT relowner FROM pg_class
       WHERE oid = 'public.signals'::regclass)) <> session_user THEN
    RAISE EXCEPTION 'only the migrator may declare a restore, not %', session_user
      USING ERRCODE = 'insufficient_privilege', HINT = 'Connect with the URL of: daybook db-url --role migrator';
  END IF;
  PERFORM daybook.lock_ledger();
  IF EXISTS (SELECT FROM public.signals) OR EXISTS (SELECT FROM public.audit_entries) THEN
    RAISE EXCEPTION 'a restore needs empty logs' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'Restore into a new database: create one, run migrate up, restore, and point the service at it.';
  END IF;
  INSERT INTO public.ledger_restores (xid, declared_by, reason) VALUES (pg_current_xact_id(), session_user, reason);
END $$;

-- Ends the restore with an entry that says what was loaded. Without it the next transaction appends as usual.
CREATE FUNCTION daybook.finish_restore() RETURNS TABLE (signals bigint, audit_entries bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  permit public.ledger_restores;
  canonical_before text := current_setting('daybook.canonical', true);
BEGIN
  DELETE FROM public.ledger_restores WHERE xid = pg_current_xact_id() RETURNING * INTO permit;
  IF permit IS NULL THEN
    RAISE EXCEPTION 'no restore was declared in this transaction' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'Call daybook.declare_restore(reason) first and stay in the same transaction.';
  END IF;
  SELECT (SELECT count(*) FROM public.signals), (SELECT count(*) FROM public.audit_entries) INTO signals, audit_entries;
  PERFORM set_config('daybook.canonical', 'off', true);
  PERFORM set_config('daybook.canonical', 'off', true);
  INSERT INTO public.audit_entries (category, event, action, actor, resource, details)
  VALUES ('BACKUP', 'LedgerRestored', 'CREATE', permit.declared_by, 'ledger', json_build_object(
    'auditEntries', audit_entries::text, 'reason', permit.reason, 'signals', signals::text));
  PERFORM set_config('daybook.canonical', coalesce(canonical_before, 'off'), true);
  RETURN NEXT;
END $$;

-- Raises with the first column in which the supplied row differs from the derived one.
CREATE FUNCTION daybook.compare_restored(log_table text, derived jsonb, supplied jsonb) RETURNS void
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  differing text;
BEGIN
  SELECT key INTO differing FROM jsonb_each(derived) WHERE value IS DISTINCT FROM supplied -> key ORDER BY key LIMIT 1;
  IF differing IS NOT NULL THEN
    RAISE EXCEPTION 'restored row % of %: column % is not what the row''s content gives',
      supplied ->> 'chain_index', log_table, differing USING ERRCODE = 'DB005',
      HINT = 'The source was altered or is not in index order. Nothing was loaded.';
  END IF;
END $$;
