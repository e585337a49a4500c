-- What may be inserted into the tables of evidence. The application's login can write plain SQL, and a row there cannot be
-- taken back: so none comes in that the service would not have made, or would stop at. Each guard looks at a bounded number
-- of rows. A declared restore loads rows that were judged when they were made; those stored before this migration stay.

-- The number of entries of a log, and when it recorded one; NULL where there is none.
CREATE FUNCTION daybook.count_entries(log text) RETURNS bigint
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(CASE log
    WHEN 'signals' THEN (SELECT chain_index + 1 FROM public.signals ORDER BY chain_index DESC LIMIT 1)
    WHEN 'audit' THEN (SELECT chain_index + 1 FROM public.audit_entries ORDER BY chain_index DESC LIMIT 1) END, 0)
$$;

CREATE FUNCTION daybook.entry_time(log text, index bigint) RETURNS timestamptz
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE log
    WHEN 'signals' THEN (SELECT server_timestamp FROM public.signals WHERE chain_index = index)
    WHEN 'audit' THEN (SELECT recorded_at FROM public.audit_entries WHERE chain_index = index) END
$$;

CREATE FUNCTION daybook.refuse_row(row_name text, reason text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% refused: %', row_name, reason USING ERRCODE = 'DB007';
END $$;

-- A log has one origin for ever, and a new key signs from now on. Its id must be that of name and key.
CREATE FUNCTION daybook.guard_new_signing_key() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  prefix text := left(NEW.origin, -length('/' || NEW.log));
  reason text;
BEGIN
  IF daybook.is_restoring() THEN
    RETURN NEW;
  END IF;
  NEW.valid_from := clock_timestamp();
  reason := CASE
    WHEN NEW.valid_until IS NOT NULL THEN 'a new key has no end'
    WHEN NEW.origin <> prefix || '/' || NEW.log OR prefix !~ '^[!-*,-~]+$' THEN 'its origin does not name the log'
    WHEN EXISTS (SELECT FROM public.signing_keys AS other WHERE other.log = NEW.log)
      AND NOT EXISTS (SELECT FROM public.signing_keys AS other WHERE other.log = NEW.log AND other.origin = NEW.origin)
      THEN 'the log was begun under another origin'
    WHEN EXISTS (SELECT FROM public.signing_keys AS other WHERE other.log <> NEW.log AND other.valid_until IS NULL
                   AND other.origin <> prefix || '/' || other.log) THEN 'the other log was begun under another origin'
    WHEN NEW.key_id <> encode(substring(sha256(convert_to(NEW.origin, 'UTF8') || '\x0a01'::bytea || NEW.public_key)
                                FROM 1 FOR 4), 'hex') THEN 'its id is not that of its name and key'
    WHEN daybook.ed25519_x(NEW.public_key) IS NULL THEN 'its public key is none' END;
  IF reason IS NOT NULL THEN
    PERFORM daybook.refuse_row('signing key', reason);
  END IF;
  RETURN NEW;
END $$;

-- As before, and a key cannot have ended before it is said to: its signatures up to then are out.
CREATE OR REPLACE FUNCTION daybook.guard_signing_key() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF OLD.valid_until IS NULL AND NEW.valid_until < statement_timestamp() THEN
    RAISE EXCEPTION 'end of a signing key refused: it lies in the past' USING ERRCODE = 'DB007';
  END IF;
  IF to_jsonb(NEW) - ARRAY['sealed_private_key', 'master_key_id', 'valid_until']
       = to_jsonb(OLD) - ARRAY['sealed_private_key', 'master_key_id', 'valid_until']
     AND (OLD.valid_until IS NULL OR NEW.valid_until IS NOT DISTINCT FROM OLD.valid_until) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'signing_keys is immutable but for its end and its seal: UPDATE refused' USING ERRCODE = 'DB001';
END $$;

-- A checkpoint is the note that the log's own key signed: origin, size, root, and each line below a good signature by a key
-- of the log, at least one of them by a key that has not ended. Whoever has no such key cannot make one.
CREATE FUNCTION daybook.guard_new_checkpoint() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text := split_part(NEW.note, E'\n', 1);
  signed text := concat(name, E'\n', NEW.tree_size, E'\n', encode(NEW.root_hash, 'base64'), E'\n');
  reason text;
BEGIN
  IF daybook.is_restoring() THEN
    RETURN NEW;
  END IF;
  NEW.signed_at := clock_timestamp();
  reason := CASE
    WHEN NEW.number IS DISTINCT FROM currval(pg_get_serial_sequence('public.checkpoints', 'number'))
      THEN 'its number is not the next one'
    WHEN NEW.tree_size > daybook.count_entries(NEW.log) THEN 'the log has fewer entries'
    WHEN NOT starts_with(NEW.note, signed || E'\n') THEN 'its note says something else'
    ELSE daybook.note_fault(NEW.log, name, signed, substring(NEW.note FROM length(signed) + 2)) END;
  IF reason IS NOT NULL THEN
    PERFORM daybook.refuse_row(format('checkpoint of %s entries', NEW.tree_size), reason);
  END IF;
  RETURN NEW;
END $$;

-- What is wrong with the signature lines below a checkpoint's text, NULL where nothing is.
CREATE FUNCTION daybook.note_fault(note_log text, name text, signed text, signature_lines text) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  key_line constant text := '— ' || name || ' ';
  lines constant text[] := string_to_array(signature_lines, E'\n');
  last constant integer := coalesce(array_length(lines, 1), 0);
  line text;
  encoded text;
  decoded bytea;
  signer public.signing_keys;
  good integer := 0;
BEGIN
  -- Behind the last line's break there is nothing; more lines than keys may ever sign at once are not looked at.
  IF last NOT BETWEEN 2 AND 10 OR lines[last] <> '' THEN
    RETURN 'its note has no signature lines';
  END IF;
  FOREACH line IN ARRAY lines[:last - 1] LOOP
    encoded := substring(line FROM length(key_line) + 1);
    IF NOT starts_with(line, key_line) OR encoded !~ '^[A-Za-z0-9+/]+=$' OR length(encoded) <> 92 THEN
      RETURN 'a signature line is none of this log';
    END IF;
    decoded := decode(encoded, 'base64');
    SELECT * INTO signer FROM public.signing_keys AS known
      WHERE known.log = note_log AND known.origin = name AND known.key_id = encode(substring(decoded FROM 1 FOR 4), 'hex');
    IF signer.key_id IS NULL OR replace(encode(decoded, 'base64'), E'\n', '') <> encoded
       OR NOT daybook.verify_ed25519(signer.public_key, convert_to(signed, 'UTF8'), substring(decoded FROM 5)) THEN
      RETURN 'a signature is not good';
    END IF;
    IF signer.valid_until IS NULL OR signer.valid_until > clock_timestamp() THEN
      good := good + 1;
    END IF;
  END LOOP;
  RETURN CASE WHEN good = 0 THEN 'every key that signed it has ended' END;
END $$;

-- A tile is what the level below gives, in order, so that no hash of a tree is anybody's word.
CREATE FUNCTION daybook.guard_new_tile() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- The range is read by the index whatever its bounds; a plan made anew for each tile costs more than the read.
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  first bigint := NEW.tile * 256;
  below bytea;
  reason text;
BEGIN
  IF daybook.is_restoring() THEN
    RETURN NEW;
  END IF;
  IF NEW.level > 0 THEN
    SELECT string_agg(root, ''::bytea ORDER BY tile) INTO below FROM public.ledger_tiles
      WHERE log = NEW.log AND level = NEW.level - 1 AND tile >= first AND tile < first + 256;
  ELSIF NEW.log = 'signals' THEN
    SELECT string_agg(verification_hash, ''::bytea ORDER BY chain_index) INTO below FROM public.signals
      WHERE chain_index >= first AND chain_index < first + 256;
  ELSE
    SELECT string_agg(verification_hash, ''::bytea ORDER BY chain_index) INTO below FROM public.audit_entries
      WHERE chain_index >= first AND chain_index < first + 256;
  END IF;
  reason := CASE
    WHEN NEW.hashes IS DISTINCT FROM below THEN 'its hashes are not those of the level below'
    WHEN NEW.root <> daybook.perfect_tree_root(NEW.hashes) THEN 'its root is not that of its hashes'
    WHEN NEW.tile > 0 AND NOT EXISTS (SELECT FROM public.ledger_tiles AS stored WHERE stored.log = NEW.log
           AND stored.level = NEW.level AND stored.tile = NEW.tile - 1) THEN 'the tile before it is not stored' END;
  IF reason IS NOT NULL THEN
    PERFORM daybook.refuse_row(format('tile %s of level %s', NEW.tile, NEW.level), reason);
  END IF;
  RETURN NEW;
END $$;

-- A day's root continues the day before, at exactly the entries recorded before its midnight. Under the ledger lock, and once
-- an entry of the audit log stands behind midnight, no further one can come before it (0001-ledger/04-log-triggers.sql).
CREATE FUNCTION daybook.guard_new_merkle_root() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  midnight timestamptz := (NEW.date + 1)::timestamp AT TIME ZONE 'UTC';
  before record;
  first_day date;
  root bytea;
  reason text;
BEGIN
  -- The service leaves the size out where it finds that the day goes on; the table's own constraint says so.
  IF NEW.tree_size IS NULL OR daybook.is_restoring() THEN
    RETURN NEW;
  END IF;
  PERFORM daybook.lock_ledger();
  NEW.sealed_at := clock_timestamp();
  SELECT sealed.date, sealed.tree_size, signed.root_hash INTO before
    FROM public.merkle_roots AS sealed JOIN public.checkpoints AS signed USING (log, tree_size)
    WHERE sealed.log = NEW.log ORDER BY sealed.date DESC LIMIT 1;
  SELECT (least((SELECT server_timestamp FROM public.signals ORDER BY chain_index LIMIT 1),
                (SELECT recorded_at FROM public.audit_entries ORDER BY chain_index LIMIT 1)) AT TIME ZONE 'UTC')::date
    INTO first_day;
  SELECT signed.root_hash INTO root FROM public.checkpoints AS signed
    WHERE signed.log = NEW.log AND signed.tree_size = NEW.tree_size;
  reason := CASE
    WHEN NEW.number IS DISTINCT FROM currval(pg_get_serial_sequence('public.merkle_roots', 'number'))
      THEN 'its number is not the next one'
    WHEN NEW.date IS DISTINCT FROM coalesce(before.date + 1, first_day) THEN 'it is not the next day'
    WHEN coalesce(daybook.entry_time('audit', daybook.count_entries('audit') - 1) < midnight, true) THEN 'the day goes on'
    WHEN NEW.tree_size > daybook.count_entries(NEW.log) THEN 'the log has fewer entries'
    WHEN daybook.entry_time(NEW.log, NEW.tree_size - 1) >= midnight
      OR daybook.entry_time(NEW.log, NEW.tree_size) < midnight THEN 'its size is not that at midnight'
    WHEN NEW.entries_of_day IS DISTINCT FROM NEW.tree_size - coalesce(before.tree_size, 0)
      THEN 'the day had another number of entries'
    -- Without a checkpoint of its size the table's own constraint refuses it.
    WHEN NOT daybook.verify_consistency(coalesce(before.tree_size, 0), coalesce(before.root_hash, root),
           NEW.tree_size, root, NEW.consistency_proof) THEN 'it is not proven to continue the day before' END;
  IF reason IS NOT NULL THEN
    PERFORM daybook.refuse_row(format('root of %s', NEW.date), reason);
  END IF;
  RETURN NEW;
END $$;

-- A key comes in unused, and then is used, and revoked once; what it may do and its secret stay.
CREATE FUNCTION daybook.guard_api_key() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  progress constant text[] := ARRAY['last_used_at', 'revoked_at', 'revoked_by'];
BEGIN
  IF daybook.is_restoring() THEN
    RETURN NEW;
  ELSIF TG_OP = 'INSERT' THEN
    NEW.created_at := clock_timestamp();
    IF NEW.revoked_at IS NOT NULL OR NEW.revoked_by IS NOT NULL OR NEW.last_used_at IS NOT NULL THEN
      PERFORM daybook.refuse_row('API key', 'a new key was neither used nor revoked');
    END IF;
  ELSIF to_jsonb(NEW) - progress <> to_jsonb(OLD) - progress
     OR (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at
                                         OR NEW.revoked_by IS DISTINCT FROM OLD.revoked_by)) THEN
    RAISE EXCEPTION 'api_keys is immutable but for use and revocation: UPDATE refused' USING ERRCODE = 'DB001';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER guard_new_signing_key_trigger BEFORE INSERT ON public.signing_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_new_signing_key();
CREATE TRIGGER guard_new_checkpoint_trigger BEFORE INSERT ON public.checkpoints
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_new_checkpoint();
CREATE TRIGGER guard_new_tile_trigger BEFORE INSERT ON public.ledger_tiles
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_new_tile();
CREATE TRIGGER guard_new_merkle_root_trigger BEFORE INSERT ON public.merkle_roots
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_new_merkle_root();
CREATE TRIGGER guard_api_key_trigger BEFORE INSERT OR UPDATE ON public.api_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_api_key();
ALTER TABLE public.signing_keys ENABLE ALWAYS TRIGGER guard_new_signing_key_trigger;
ALTER TABLE public.checkpoints ENABLE ALWAYS TRIGGER guard_new_checkpoint_trigger;
ALTER TABLE public.ledger_tiles ENABLE ALWAYS TRIGGER guard_new_tile_trigger;
ALTER TABLE public.merkle_roots ENABLE ALWAYS TRIGGER guard_new_merkle_root_trigger;
ALTER TABLE public.api_keys ENABLE ALWAYS TRIGGER guard_api_key_trigger;
