-- One removal at a time. Always before the ledger lock, never under it.
CREATE FUNCTION daybook.lock_retention() RETURNS void
  LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT pg_advisory_xact_lock(7219460237150054) $$;

-- How long entries stay. A caller of this is the migrator: the service's own login cannot shorten what is kept.
-- Where nothing changes it waits for nobody: each start of a node calls it, also while entries are being removed.
CREATE FUNCTION daybook.set_retention(keep_online interval, keep_archived interval) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres AS $$
DECLARE
  before public.retention_policies;
  canonical_before text := current_setting('daybook.canonical', true);
BEGIN
  SELECT * INTO before FROM public.retention_policies WHERE log = 'audit';
  IF before.log IS NOT NULL AND before.online IS NOT DISTINCT FROM keep_online AND before.archived = keep_archived THEN
    RETURN false;
  END IF;
  PERFORM daybook.lock_retention();
  SELECT * INTO before FROM public.retention_policies WHERE log = 'audit';
  IF before.log IS NOT NULL AND before.online IS NOT DISTINCT FROM keep_online AND before.archived = keep_archived THEN
    RETURN false;
  END IF;
  INSERT INTO public.retention_policies (log, online, archived, set_by) VALUES ('audit', keep_online, keep_archived, session_user)
    ON CONFLICT (log) DO UPDATE SET online = EXCLUDED.online, archived = EXCLUDED.archived, set_at = EXCLUDED.set_at,
      set_by = EXCLUDED.set_by;
  PERFORM set_config('daybook.canonical', 'off', true);
  INSERT INTO public.audit_entries (category, event, action, actor, resource, details, old_data, new_data)
  VALUES ('CONFIG', 'RetentionPolicyChanged', 'UPDATE', session_user, 'retention/audit',
    json_build_object('archived', keep_archived::text, 'online', keep_online::text),
    CASE WHEN before.log IS NOT NULL THEN json_build_object('archived', before.archived::text, 'online', before.online::text) END,
    json_build_object('archived', keep_archived::text, 'online', keep_online::text));
  PERFORM set_config('daybook.canonical', coalesce(canonical_before, 'off'), true);
  RETURN true;
END $$;

-- The lowest index that must stay: of entries under a hold, of those that are not archived or too young, of days that ended and
-- have no root yet or no pack, of what a sink has not taken, and the last row in any case. What cannot be removed is so never reached.
CREATE FUNCTION daybook.first_kept_index() RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH online AS (SELECT max(chain_index) AS last FROM public.audit_entries),
  archived AS (
    SELECT coalesce(max(archive.last_index) + 1, 0) AS up_to FROM public.log_archives AS archive
    WHERE archive.removed_at IS NULL AND archive.last_index < (SELECT last FROM online)
      AND archive.last_recorded_at < clock_timestamp() - (SELECT policy.online FROM public.retention_policies AS policy)
      AND (archive.first_recorded_at >= date_trunc('day', clock_timestamp(), 'UTC')
           OR archive.last_index < (SELECT max(sealed.tree_size) FROM public.merkle_roots AS sealed WHERE sealed.log = 'audit'))),
  held AS (
    SELECT min(entry.chain_index) AS first FROM public.legal_holds AS hold
      JOIN public.audit_entries AS entry ON entry.chain_index < (SELECT up_to FROM archived)
        AND coalesce(entry.signal_id = hold.signal_id, hold.signal_id IS NULL)
        AND coalesce(entry.actor = hold.actor, hold.actor IS NULL)
        AND coalesce(starts_with(entry.resource, hold.resource_prefix), hold.resource_prefix IS NULL)
        AND coalesce(entry.recorded_at >= hold.recorded_from, true) AND coalesce(entry.recorded_at < hold.recorded_to, true)
    WHERE hold.released_at IS NULL),
  delivered AS (
    SELECT min(position) AS first FROM public.audit_sinks WHERE updated_at > clock_timestamp() - interval '7 days'),
  -- Where a pack is made of each day, each names the one before: a day without one could have none for ever.
  packed AS (
    SELECT max(sealed.tree_size) AS up_to FROM public.merkle_roots AS sealed WHERE sealed.log = 'audit'
      AND sealed.date = (SELECT max(pack.date) FROM public.export_packs AS pack WHERE pack.kind = 'DAY')),
  allowed AS (SELECT least(archived.up_to, held.first, delivered.first, packed.up_to) AS up_to
              FROM archived, held, delivered, packed)
  -- Down to the end of an archive, so that what is gone is whole archives.
  SELECT coalesce((SELECT max(archive.last_index) + 1 FROM public.log_archives AS archive, allowed
                   WHERE archive.last_index < allowed.up_to), 0)
$$;

-- What stays in force although the entry that told of it is removed is told again, so that whoever changes it past the service
-- is found out as before: the catalogue's baseline, the retention, and each hold.
CREATE FUNCTION daybook.tell_again(first_kept bigint, purged_by text, baseline public.audit_entries, is_policy_told boolean,
    holds uuid[]) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres AS $$
BEGIN
  IF baseline.chain_index < first_kept THEN
    INSERT INTO public.audit_entries (category, event, action, actor, resource, outcome, details)
    VALUES ('INTEGRITY', replace(baseline.event, 'Set', 'Kept'), 'EXECUTE', purged_by, baseline.resource, baseline.outcome,
      json_build_object('factsHash', baseline.details ->> 'factsHash', 'toldBy', baseline.chain_index::text));
  END IF;
  IF is_policy_told THEN
    INSERT INTO public.audit_entries (category, event, action, actor, resource, details)
    SELECT 'CONFIG', 'RetentionPolicyKept', 'EXECUTE', purged_by, 'retention/audit',
      json_build_object('archived', archived::text, 'online', online::text) FROM public.retention_policies WHERE log = 'audit';
  END IF;
  INSERT INTO public.audit_entries (category, event, action, actor, resource, details)
  SELECT 'ADMIN', 'LegalHoldKept', 'EXECUTE', purged_by, 'legal-hold/' || hold.id, json_build_object(
      'placedBy', hold.placed_by, 'reason', hold.reason, 'scope', json_strip_nulls(json_build_object(
        'actor', hold.actor, 'recordedFrom', daybook.format_time(hold.recorded_from),
        'recordedTo', daybook.format_time(hold.recorded_to), 'resourcePrefix', hold.resource_prefix,
        'signalId', hold.signal_id)))
    FROM public.legal_holds AS hold WHERE hold.id = ANY (holds) ORDER BY hold.number;
END $$;

-- Removes the archived entries before first_kept, which first_kept_index() has to allow, and leaves the receipt. Appends wait
-- only from the first entry that it writes on: by then the rows are gone.
CREATE FUNCTION daybook.purge_entries(first_kept bigint, purged_by text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  first bigint;
  allowed bigint;
  last public.audit_entries;
  head public.checkpoints;
  archives json;
  baseline public.audit_entries;
  is_policy_told boolean;
  held uuid[];
  holds_seen bigint;
  receipt bigint;
  removed bigint;
  canonical_before text := current_setting('daybook.canonical', true);
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'entries are removed only under READ COMMITTED' USING ERRCODE = 'DB002',
      HINT = 'Only READ COMMITTED sees the legal holds that were placed meanwhile.';
  END IF;
  PERFORM daybook.lock_retention();
  SELECT min(chain_index) INTO first FROM public.audit_entries;
  SELECT count(*) INTO holds_seen FROM public.legal_holds;
  allowed := daybook.first_kept_index();
  IF first_kept IS NULL OR first IS NULL OR first_kept <= first OR first_kept > allowed
     OR NOT EXISTS (SELECT FROM public.log_archives WHERE last_index = first_kept - 1) THEN
    RAISE EXCEPTION 'entries before % cannot be removed: those before % can', first_kept, allowed USING ERRCODE = 'DB008',
      HINT = 'Only whole archives that are old enough, delivered to all sinks and under no legal hold are removed.';
  END IF;
  IF (SELECT count(*) FROM public.ledger_tiles WHERE log = 'audit' AND level = 0 AND tile >= first / 256 AND tile < first_kept / 256)
     <> (first_kept - first) / 256 THEN
    RAISE EXCEPTION 'the tree lacks tiles of the entries before %', first_kept USING ERRCODE = 'DB004';
  END IF;
  SELECT * INTO last FROM public.audit_entries WHERE chain_index = first_kept - 1;
  SELECT * INTO head FROM public.checkpoints WHERE log = 'audit' ORDER BY tree_size DESC LIMIT 1;
  SELECT json_agg(number::text ORDER BY number) INTO archives FROM public.log_archives
    WHERE first_index >= first AND last_index < first_kept;
  SELECT * INTO baseline FROM public.audit_entries
    WHERE event IN ('IntegrityBaselineSet', 'IntegrityBaselineKept', 'IntegrityBaselineWithheld')
    ORDER BY chain_index DESC LIMIT 1;
  SELECT max(chain_index) < first_kept INTO is_policy_told FROM public.audit_entries
    WHERE event IN ('RetentionPolicyChanged', 'RetentionPolicyKept');
  SELECT array_agg(hold.id) INTO held FROM public.legal_holds AS hold
    WHERE hold.released_at IS NULL AND NOT EXISTS (SELECT FROM public.audit_entries AS told
      WHERE told.event IN ('LegalHoldPlaced', 'LegalHoldKept') AND told.resource = 'legal-hold/' || hold.id
        AND told.chain_index >= first_kept);
  INSERT INTO public.ledger_purges (log, first_index, first_kept_index, previous_hash, last_recorded_at, tree_size, root_hash,
      purged_by, xid)
    VALUES ('audit', first, first_kept, last.chain_hash, last.recorded_at, head.tree_size, head.root_hash, purged_by,
      pg_current_xact_id()) RETURNING number INTO receipt;
  DELETE FROM public.audit_entries WHERE chain_index < first_kept;
  GET DIAGNOSTICS removed = ROW_COUNT;
  DELETE FROM public.ledger_subxacts WHERE log = 'audit' AND last_index < first_kept;
  PERFORM set_config('daybook.canonical', 'off', true);
  INSERT INTO public.audit_entries (category, event, action, actor, resource, details)
  VALUES ('BACKUP', 'EntriesPurged', 'DELETE', purged_by, 'purge/' || receipt, json_build_object(
    'archives', archives, 'entries', removed::text, 'firstIndex', first::text, 'firstKeptIndex', first_kept::text,
    'previousHash', encode(last.chain_hash, 'hex'), 'rootHash', encode(head.root_hash, 'hex'),
    'treeSize', head.tree_size::text));
  PERFORM daybook.tell_again(first_kept, purged_by, baseline, is_policy_told, held);
  PERFORM set_config('daybook.canonical', coalesce(canonical_before, 'off'), true);
  -- Holds are placed under the ledger lock, which the entry has taken: those that come now wait, those that came are seen.
  IF (SELECT count(*) FROM public.legal_holds) <> holds_seen THEN
    RAISE EXCEPTION 'a legal hold was placed while entries before % were being removed', first_kept USING ERRCODE = 'DB008',
      HINT = 'Nothing was removed. Try again.';
  END IF;
  RETURN removed;
END $$;
