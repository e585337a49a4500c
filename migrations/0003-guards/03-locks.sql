-- Any role that may connect can take any advisory lock. Those of the service are held by logins that may append, each for a
-- while only; whoever else holds one, and whoever holds one longer, is shown.
--
-- Runs with the caller's rights: a login sees since when sessions of its own role work, of others it does not. There the
-- time that somebody waits for the lock counts; held_seconds is NULL where nobody does.
DROP FUNCTION daybook.foreign_lock_holders();
CREATE FUNCTION daybook.foreign_lock_holders()
  RETURNS TABLE (pid integer, user_name text, lock_name text, held_seconds double precision)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH watched (lock_name, class_id, first_id, last_id, object_part, patience) AS (
    SELECT single.lock_name, single.number >> 32, single.number & 4294967295, single.number & 4294967295, 1,
      single.patience::interval
    FROM (VALUES
      ('ledger', 7219460237150041, '5 seconds'),
      ('provisioning', 7219460237150042, '1 minute'),
      ('refusal layers', 7219460237150043, '1 minute'),
      ('migrations', 7219460237150044, '10 minutes'),
      ('signer of signals', 7219460237150045, '1 minute'),
      ('signer of audit', 7219460237150046, '1 minute'),
      -- The first publication of a large log takes long, and so do places that answer slowly, and many days of packs.
      ('publisher of signals', 7219460237150047, '1 hour'),
      ('publisher of audit', 7219460237150048, '1 hour'),
      ('anchors', 7219460237150049, '1 hour'),
      ('packs', 7219460237150053, '6 hours'),
      -- Removing, and archiving, what is old of a large log for the first time.
      ('retention', 7219460237150054, '1 hour'),
      ('archiver', 7219460237150055, '12 hours')) AS single (lock_name, number, patience)
    UNION ALL
    -- One for each sink, by its number; the node that delivers holds it as long as it runs.
    SELECT 'sink', 7219460237160000 >> 32, (7219460237160000 & 4294967295) + 1, (7219460237160000 & 4294967295) + 100000, 1,
      NULL
    UNION ALL
    SELECT pair.lock_name, 721946049, pair.number, pair.number, 2, pair.patience::interval
    FROM (VALUES ('check SAMPLE', 1, '1 hour'), ('check RECENT', 2, '1 hour'), ('check FULL', 3, '12 hours'))
      AS pair (lock_name, number, patience)),
  held AS (
    SELECT taken.pid, activity.usename::text AS user_name, watched.patience,
      watched.lock_name || CASE WHEN watched.last_id > watched.first_id
        THEN ' ' || taken.objid::bigint - watched.first_id + 1 ELSE '' END AS lock_name,
      coalesce(has_table_privilege(activity.usesysid, 'public.signals', 'INSERT'), false) AS is_ours,
      -- In a transaction since its begin; a lock of the session is held by one that is idle.
      coalesce(activity.xact_start, activity.state_change) AS since,
      (SELECT min(waiting.waitstart) FROM pg_locks AS waiting
       WHERE waiting.locktype = 'advisory' AND NOT waiting.granted AND waiting.database = taken.database
         AND waiting.classid = taken.classid AND waiting.objid = taken.objid AND waiting.objsubid = taken.objsubid)
        AS waited_for_since
    FROM pg_locks AS taken
      JOIN watched ON taken.classid::bigint = watched.class_id AND taken.objid::bigint BETWEEN watched.first_id AND watched.last_id
        AND taken.objsubid = watched.object_part
      JOIN pg_stat_activity AS activity USING (pid)
    WHERE taken.locktype = 'advisory' AND taken.granted
      AND taken.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
  SELECT pid, user_name, lock_name, extract(epoch FROM clock_timestamp() - least(since, waited_for_since))::float8
  FROM held
  WHERE NOT is_ours OR least(since, waited_for_since) < clock_timestamp() - patience
$$;
