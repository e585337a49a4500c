-- When the server last came up. A crashed backend has all others restarted and the write-ahead log replayed, while the
-- postmaster and its start time stay; what then tells is that the server's statistics begin anew.
CREATE FUNCTION daybook.server_came_up() RETURNS timestamptz
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT greatest(pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time())
$$;
UPDATE public.modification_watch SET came_up_at = daybook.server_came_up();

-- Moves refused modifications into the audit log and accounts for every number of the sequence. Called by the service
-- about twice a second and on NOTIFY; safe from many nodes, for it takes the ledger lock. Returns the entries it added.
--
-- A number without a record means that the record could not be written (all connections used up, a tiny
-- statement_timeout, no dblink). After 10 s it becomes an entry with unknown details. PostgreSQL logs a sequence 32 values
-- ahead, so a crash skips numbers that nobody drew: those seen for the first time after a restart are explained as such,
-- those seen before it stay attempts.
CREATE FUNCTION daybook.reconcile_attempts() RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  watch public.modification_watch;
  attempt public.modification_attempts;
  drawn bigint;
  restarted boolean;
  added integer := 0;
  entry_index bigint;
  canonical_before text := current_setting('daybook.canonical', true);
BEGIN
  SELECT * INTO watch FROM public.modification_watch;
  SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO drawn FROM public.modification_attempt_number;
  IF drawn = watch.reconciled_number AND watch.came_up_at = daybook.server_came_up()
     AND NOT EXISTS (SELECT FROM public.modification_attempts WHERE audit_index IS NULL) THEN
    RETURN 0;
  END IF;
  PERFORM daybook.lock_ledger();
  -- What these entries say is built here, not canonicalised by the service.
  PERFORM set_config('daybook.canonical', 'off', true);
  SELECT * INTO watch FROM public.modification_watch FOR UPDATE;
  -- The entries below are written in SQL: their JSON has still to be brought into canonical form.
  PERFORM set_config('daybook.canonical', 'off', true);
  restarted := watch.came_up_at <> daybook.server_came_up();
  FOR attempt IN SELECT * FROM public.modification_attempts WHERE audit_index IS NULL ORDER BY attempt_number LIMIT 1000 LOOP
    entry_index := daybook.append_refused_modification(attempt.attempt_number, attempt);
    UPDATE public.modification_attempts SET audit_index = entry_index WHERE attempt_number = attempt.attempt_number;
    added := added + 1;
  END LOOP;
  added := added + daybook.explain_missing_attempts(watch, drawn, restarted);
  PERFORM set_config('daybook.canonical', coalesce(canonical_before, 'off'), true);
  RETURN added;
END $$;

-- Appends the entry of one attempt; details are unknown where `attempt` is NULL. Returns the entry's index.
CREATE FUNCTION daybook.append_refused_modification(number bigint, attempt public.modification_attempts) RETURNS bigint
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO public.audit_entries
    (category, event, action, actor, resource, signal_id, outcome, occurred_at, ip_address, session_id, details,
     old_data, new_data)
  VALUES ('INTEGRITY', 'ModificationRefused', CASE attempt.operation
    WHEN 'UPDATE' THEN 'UPDATE' WHEN 'DELETE' THEN 'DELETE' WHEN 'TRUNCATE' THEN 'DELETE' END,
    coalesce(attempt.session_user_name, 'unknown'), coalesce(attempt.table_name, 'unknown'), attempt.signal_id,
    'LEDGER_IMMUTABLE', attempt.attempted_at, attempt.client_address,
    coalesce('postgres:' || attempt.backend_pid, 'unknown'), json_strip_nulls(json_build_object(
      'application', attempt.application_name, 'attempt', number::text, 'currentUser', attempt.current_user_name,
      'operation', coalesce(attempt.operation, 'unknown'),
      'recorded', attempt.attempt_number IS NOT NULL, 'statement', attempt.statement)),
    attempt.old_data, attempt.new_data)
  RETURNING chain_index
$$;

CREATE FUNCTION daybook.explain_missing_attempts(watch public.modification_watch, drawn bigint, restarted boolean)
  RETURNS integer
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  missing bigint[];
  reached bigint := watch.reconciled_number;
  added integer := 0;
  number bigint;
  waited boolean := watch.gap_first_seen_at < clock_timestamp() - interval '10 seconds';
  still_waiting boolean;
BEGIN
  SELECT array_agg(candidate ORDER BY candidate) INTO missing
    FROM generate_series(watch.reconciled_number + 1, least(drawn, watch.reconciled_number + 10000)) AS candidate
    WHERE NOT EXISTS (SELECT FROM public.modification_attempts WHERE attempt_number = candidate);
  still_waiting := NOT coalesce(waited, true) AND missing[1] <= watch.gap_last_number;
  IF missing IS NULL THEN
    reached := least(drawn, watch.reconciled_number + 10000);
  ELSIF restarted AND missing[1] > watch.seen_number THEN
    INSERT INTO public.audit_entries (category, event, action, actor, resource, details)
    VALUES ('INTEGRITY', 'ModificationNumbersSkipped', 'EXECUTE', 'daybook', 'modification_attempt_number',
      json_build_object('first', missing[1]::text, 'last', missing[array_upper(missing, 1)]::text,
        'numbers', array_length(missing, 1), 'reason',
        'the server restarted: a crash skips numbers of a sequence that were reserved and never drawn'));
    reached := least(drawn, watch.reconciled_number + 10000);
    added := 1;
  ELSIF waited OR restarted THEN
    FOREACH number IN ARRAY missing LOOP
      EXIT WHEN number > CASE WHEN restarted THEN watch.seen_number ELSE watch.gap_last_number END;
      reached := number;
      PERFORM daybook.append_refused_modification(number, NULL);
      added := added + 1;
    END LOOP;
    IF NOT restarted THEN
      reached := coalesce((SELECT min(candidate) - 1 FROM unnest(missing) AS candidate
                           WHERE candidate > watch.gap_last_number), least(drawn, watch.reconciled_number + 10000));
    END IF;
  ELSE
    reached := missing[1] - 1;
  END IF;
  UPDATE public.modification_watch SET
    reconciled_number = reached,
    -- Until the numbers seen before a restart are all accounted for, the restart is still to be explained.
    seen_number = CASE WHEN restarted AND reached < drawn THEN seen_number ELSE drawn END,
    gap_first_seen_at = CASE WHEN reached = drawn OR restarted THEN NULL WHEN still_waiting THEN gap_first_seen_at
                             ELSE clock_timestamp() END,
    gap_last_number = CASE WHEN reached = drawn OR restarted THEN NULL WHEN still_waiting THEN gap_last_number
                           ELSE drawn END,
    came_up_at = CASE WHEN restarted AND reached < drawn THEN came_up_at ELSE daybook.server_came_up() END;
  RETURN added;
END $$;
