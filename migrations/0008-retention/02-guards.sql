-- True where the newest entry of that event about that resource is of this transaction, and by the one whom the row names.
CREATE FUNCTION daybook.is_told(told_event text, told_resource text, told_actor text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT recorded.xid = pg_current_xact_id() AND coalesce(recorded.actor, 'unknown') = told_actor
    FROM public.audit_entries AS recorded
    WHERE recorded.event = told_event AND recorded.resource = told_resource ORDER BY recorded.chain_index DESC LIMIT 1), false)
$$;

-- What is signed of an archive, line by line (docs/format.md). Its first line is no log's origin, so it is no checkpoint.
CREATE FUNCTION daybook.archive_statement(archive public.log_archives, origin text) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT concat_ws(E'\n', 'daybook-archive-v1', origin, archive.first_index, archive.last_index,
    encode(archive.previous_hash, 'hex'), encode(archive.chain_hash, 'hex'),
    daybook.format_time(archive.first_recorded_at), daybook.format_time(archive.last_recorded_at),
    CASE WHEN archive.holds_signals THEN 'signals' ELSE 'none' END,
    archive.object_key, archive.bytes, encode(archive.object_hash, 'hex'), coalesce(archive.version_id, '-')) || E'\n'
$$;

-- Fills in what the log says of the range, so that an archive cannot be told for entries that it does not follow.
CREATE FUNCTION daybook.guard_archive() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seen record;
  policy public.retention_policies;
  origin constant text := split_part(NEW.note, E'\n', 2);
  signed text;
  reason text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    SELECT * INTO policy FROM public.retention_policies WHERE log = OLD.log;
    IF OLD.removed_at IS NOT NULL OR NEW.removed_by IS NULL
       OR to_jsonb(NEW) - ARRAY['removed_at', 'removed_by'] <> to_jsonb(OLD) - ARRAY['removed_at', 'removed_by'] THEN
      RAISE EXCEPTION 'log_archives is immutable: UPDATE refused' USING ERRCODE = 'DB001';
    END IF;
    IF (OLD.last_recorded_at + CASE WHEN OLD.holds_signals THEN greatest(policy.archived, interval '7 years')
          ELSE policy.archived END > clock_timestamp()) THEN
      RAISE EXCEPTION 'archive % is still to be kept', OLD.number USING ERRCODE = 'DB008',
        HINT = 'daybook archive list says until when.';
    END IF;
    IF EXISTS (SELECT FROM public.audit_entries WHERE chain_index <= OLD.last_index) THEN
      RAISE EXCEPTION 'the entries of archive % are still online', OLD.number USING ERRCODE = 'DB008';
    END IF;
    IF EXISTS (SELECT FROM public.legal_holds WHERE released_at IS NULL
               AND coalesce(recorded_from <= OLD.last_recorded_at, true)
               AND coalesce(recorded_to > OLD.first_recorded_at, true)) THEN
      RAISE EXCEPTION 'archive % may hold entries under a legal hold', OLD.number USING ERRCODE = 'DB008',
        HINT = 'Two people release a hold: releaseLegalHold.';
    END IF;
    IF NOT daybook.is_told('ArchiveRemoved', 'archive/' || OLD.number, NEW.removed_by) THEN
      RAISE EXCEPTION 'the removal of an archive is recorded with its ArchiveRemoved entry alone' USING ERRCODE = 'DB001';
    END IF;
    NEW.removed_at := clock_timestamp();
    RETURN NEW;
  END IF;
  SELECT coalesce(max(last_index) + 1, 0) INTO NEW.first_index FROM public.log_archives WHERE log = NEW.log;
  IF NEW.last_index < NEW.first_index OR (NEW.last_index + 1) % 256 <> 0 OR NEW.last_index - NEW.first_index >= 65536 THEN
    RAISE EXCEPTION 'an archive that begins at % cannot end at %', NEW.first_index, NEW.last_index USING ERRCODE = 'DB007',
      HINT = 'Archives hold whole tiles of 256 entries, at most 65,536 entries, and leave none out.';
  END IF;
  IF NOT EXISTS (SELECT FROM public.checkpoints WHERE log = NEW.log AND tree_size > NEW.last_index) THEN
    RAISE EXCEPTION 'no checkpoint covers entry %', NEW.last_index USING ERRCODE = 'DB007';
  END IF;
  SELECT count(*) AS entries, min(recorded_at) AS first_at, max(recorded_at) AS last_at, bool_or(signal_id IS NOT NULL) AS signals,
         (SELECT previous_hash FROM public.audit_entries WHERE chain_index = NEW.first_index) AS before,
         (SELECT chain_hash FROM public.audit_entries WHERE chain_index = NEW.last_index) AS last
    INTO seen FROM public.audit_entries WHERE chain_index BETWEEN NEW.first_index AND NEW.last_index;
  IF seen.entries <> NEW.last_index - NEW.first_index + 1 THEN
    RAISE EXCEPTION 'the log lacks entries between % and %', NEW.first_index, NEW.last_index USING ERRCODE = 'DB004';
  END IF;
  NEW.first_recorded_at := seen.first_at;
  NEW.last_recorded_at := seen.last_at;
  NEW.previous_hash := seen.before;
  NEW.chain_hash := seen.last;
  NEW.holds_signals := seen.signals;
  NEW.created_at := clock_timestamp();
  NEW.removed_at := NULL;
  NEW.removed_by := NULL;
  signed := daybook.archive_statement(NEW, origin);
  reason := CASE
    WHEN NEW.number IS DISTINCT FROM currval(pg_get_serial_sequence('public.log_archives', 'number'))
      THEN 'its number is not the next one'
    WHEN NOT starts_with(NEW.note, signed || E'\n') THEN 'its note says something else'
    WHEN NOT daybook.is_told('ArchiveCreated', format('archive/%s-%s', NEW.first_index, NEW.last_index), NEW.created_by)
      THEN 'its ArchiveCreated entry is not of this transaction'
    ELSE daybook.note_fault(NEW.log, origin, signed, substring(NEW.note FROM length(signed) + 2)) END;
  IF reason IS NOT NULL THEN
    PERFORM daybook.refuse_row(format('archive of entries %s to %s', NEW.first_index, NEW.last_index), reason);
  END IF;
  RETURN NEW;
END $$;

-- A hold is placed by one and released by two; both are told in the same transaction.
CREATE FUNCTION daybook.guard_legal_hold() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  request_columns constant text[] := ARRAY['release_requested_at', 'release_requested_by', 'release_reason'];
  release_columns constant text[] := ARRAY['released_at', 'released_by'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    NEW.placed_at := clock_timestamp();
    -- Each removal compares every entry with every hold.
    IF (SELECT count(*) FROM public.legal_holds WHERE released_at IS NULL) >= 1000 THEN
      RAISE EXCEPTION '1,000 legal holds are in force: one more is refused' USING ERRCODE = 'DB008',
        HINT = 'Place one hold that covers several, and release those.';
    END IF;
    IF NEW.release_requested_by IS NULL AND NEW.released_by IS NULL
       AND NEW.number = currval(pg_get_serial_sequence('public.legal_holds', 'number'))
       AND daybook.is_told('LegalHoldPlaced', 'legal-hold/' || NEW.id, NEW.placed_by) THEN
      NEW.release_requested_at := NULL;
      NEW.release_reason := NULL;
      NEW.released_at := NULL;
      RETURN NEW;
    END IF;
  ELSIF OLD.release_requested_by IS NULL AND NEW.release_requested_by IS NOT NULL AND NEW.release_reason IS NOT NULL
     AND to_jsonb(NEW) - request_columns = to_jsonb(OLD) - request_columns
     AND daybook.is_told('LegalHoldReleaseRequested', 'legal-hold/' || NEW.id, NEW.release_requested_by) THEN
    NEW.release_requested_at := clock_timestamp();
    RETURN NEW;
  ELSIF OLD.release_requested_by IS NOT NULL AND OLD.released_by IS NULL
     AND NEW.released_by IS NOT NULL AND NEW.released_by <> OLD.release_requested_by
     AND to_jsonb(NEW) - release_columns = to_jsonb(OLD) - release_columns
     AND daybook.is_told('LegalHoldReleased', 'legal-hold/' || NEW.id, NEW.released_by) THEN
    NEW.released_at := clock_timestamp();
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a legal hold is placed by one and released by two people, each on the record: % refused', TG_OP
    USING ERRCODE = 'DB001';
END $$;

-- A restored copy is exactly the entry that the tree holds at its index and continues the copy before it from its archive's
-- beginning on; its columns are taken from its body.
CREATE FUNCTION daybook.guard_restored_entry() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  content constant json := NEW.body::json;
  source public.log_archives;
BEGIN
  SELECT * INTO source FROM public.log_archives WHERE number = NEW.archive;
  IF (NEW.chain_index BETWEEN source.first_index AND source.last_index AND source.removed_at IS NULL) IS NOT TRUE THEN
    RAISE EXCEPTION 'archive % does not hold entry %', NEW.archive, NEW.chain_index USING ERRCODE = 'DB005';
  END IF;
  NEW.verification_hash := sha256('\x00'::bytea || convert_to(NEW.body, 'UTF8'));
  NEW.chain_hash := sha256('\x02'::bytea || NEW.previous_hash || NEW.verification_hash);
  IF NOT EXISTS (SELECT FROM public.ledger_tiles AS stored WHERE stored.log = 'audit' AND stored.level = 0
      AND stored.tile = NEW.chain_index / 256
      AND substring(stored.hashes FROM (NEW.chain_index % 256)::integer * 32 + 1 FOR 32) = NEW.verification_hash) THEN
    RAISE EXCEPTION 'what was to be restored as entry % is not what the tree holds there', NEW.chain_index
      USING ERRCODE = 'DB005', HINT = 'The archive was altered: fetch the right one.';
  END IF;
  IF NEW.previous_hash IS DISTINCT FROM (CASE WHEN NEW.chain_index = source.first_index THEN source.previous_hash ELSE
      (SELECT copy.chain_hash FROM public.restored_entries AS copy WHERE copy.chain_index = NEW.chain_index - 1) END)
     OR (NEW.chain_index = source.last_index AND NEW.chain_hash <> source.chain_hash) THEN
    RAISE EXCEPTION 'what was to be restored as entry % does not continue the one before it', NEW.chain_index
      USING ERRCODE = 'DB005', HINT = 'Copies come in from their archive''s first entry on, in order.';
  END IF;
  NEW.id := (content ->> 'id')::uuid;
  NEW.category := content ->> 'category';
  NEW.event := content ->> 'event';
  NEW.action := content ->> 'action';
  NEW.actor := content ->> 'actor';
  NEW.role := content ->> 'role';
  NEW.resource := content ->> 'resource';
  NEW.signal_id := content ->> 'signalId';
  NEW.outcome := content ->> 'outcome';
  NEW.occurred_at := (content ->> 'occurredAt')::timestamptz;
  NEW.recorded_at := (content ->> 'recordedAt')::timestamptz;
  NEW.ip_address := content ->> 'ipAddress';
  NEW.user_agent := content ->> 'userAgent';
  NEW.session_id := content ->> 'sessionId';
  NEW.request_id := content ->> 'requestId';
  NEW.idempotency_key := content ->> 'idempotencyKey';
  NEW.input_hash := decode(content ->> 'inputHash', 'hex');
  NEW.details := content -> 'details';
  NEW.old_data := content -> 'oldData';
  NEW.new_data := content -> 'newData';
  NEW.restored_at := clock_timestamp();
  RETURN NEW;
END $$;

CREATE TRIGGER guard_archive_trigger BEFORE INSERT OR UPDATE ON public.log_archives
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_archive();
CREATE TRIGGER guard_legal_hold_trigger BEFORE INSERT OR UPDATE ON public.legal_holds
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_legal_hold();
CREATE TRIGGER guard_restored_entry_trigger BEFORE INSERT ON public.restored_entries
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_restored_entry();
CREATE TRIGGER prevent_modification_trigger BEFORE UPDATE ON public.restored_entries
  FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification();
ALTER TABLE public.log_archives ENABLE ALWAYS TRIGGER guard_archive_trigger;
ALTER TABLE public.legal_holds ENABLE ALWAYS TRIGGER guard_legal_hold_trigger;
ALTER TABLE public.restored_entries ENABLE ALWAYS TRIGGER guard_restored_entry_trigger;
ALTER TABLE public.restored_entries ENABLE ALWAYS TRIGGER prevent_modification_trigger;

DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['log_archives', 'legal_holds', 'retention_policies'] LOOP
    EXECUTE format('CREATE TRIGGER prevent_removal_trigger BEFORE DELETE ON public.%I
      FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()', kept);
    EXECUTE format('CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', kept);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_removal_trigger', kept);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_truncation_trigger', kept);
  END LOOP;
END $$;
