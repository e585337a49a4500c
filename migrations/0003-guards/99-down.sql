-- No rows are lost: the guards go, and the two functions are again what 0001 and 0002 made.
DROP TRIGGER guard_new_signing_key_trigger ON public.signing_keys;
DROP TRIGGER guard_new_checkpoint_trigger ON public.checkpoints;
DROP TRIGGER guard_new_tile_trigger ON public.ledger_tiles;
DROP TRIGGER guard_new_merkle_root_trigger ON public.merkle_roots;
DROP TRIGGER guard_api_key_trigger ON public.api_keys;
DROP FUNCTION daybook.guard_new_signing_key(), daybook.guard_new_checkpoint(), daybook.guard_new_tile(),
  daybook.guard_new_merkle_root(), daybook.guard_api_key(), daybook.note_fault(text, text, text, text),
  daybook.refuse_row(text, text), daybook.entry_time(text, bigint), daybook.count_entries(text),
  daybook.verify_consistency(bigint, bytea, bigint, bytea, bytea), daybook.perfect_tree_root(bytea),
  daybook.verify_ed25519(bytea, bytea, bytea), daybook.ed25519_x(bytea), daybook.little_endian_number(bytea),
  daybook.foreign_lock_holders();

CREATE OR REPLACE FUNCTION daybook.guard_signing_key() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_jsonb(NEW) - ARRAY['sealed_private_key', 'master_key_id', 'valid_until']
       = to_jsonb(OLD) - ARRAY['sealed_private_key', 'master_key_id', 'valid_until']
     AND (OLD.valid_until IS NULL OR NEW.valid_until IS NOT DISTINCT FROM OLD.valid_until) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'signing_keys is immutable but for its end and its seal: UPDATE refused' USING ERRCODE = 'DB001';
END $$;

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
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application') AND current_user = 'daybook_owner' THEN
    REVOKE ALL ON FUNCTION daybook.foreign_lock_holders() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION daybook.foreign_lock_holders() TO daybook_application, daybook_auditor;
  END IF;
END $$;
