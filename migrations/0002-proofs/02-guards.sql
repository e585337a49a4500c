-- Tables that only grow refuse UPDATE, DELETE and TRUNCATE as the logs do, on the record (0001-ledger/06-refusal.sql).
DO $$
DECLARE
  grown text;
BEGIN
  FOREACH grown IN ARRAY ARRAY['ledger_tiles', 'checkpoints', 'merkle_roots', 'integrity_baselines',
                               'integrity_checksum_log'] LOOP
    EXECUTE format('CREATE TRIGGER prevent_modification_trigger BEFORE UPDATE OR DELETE ON public.%I
      FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('CREATE TRIGGER prevent_modification_without_rows_trigger AFTER UPDATE OR DELETE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_modification_trigger', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_modification_without_rows_trigger', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_truncation_trigger', grown);
  END LOOP;
  -- Tables whose rows move on in one direction: removal is refused here, each step by a guard below.
  FOREACH grown IN ARRAY ARRAY['signing_keys', 'anchors', 'incidents'] LOOP
    EXECUTE format('CREATE TRIGGER prevent_removal_trigger BEFORE DELETE ON public.%I
      FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_removal_trigger', grown);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_truncation_trigger', grown);
  END LOOP;
END $$;

-- A signing key ends once; what seals its private part may be replaced. Everything else about it stays.
CREATE FUNCTION daybook.guard_signing_key() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_jsonb(NEW) - ARRAY['sealed_private_key', 'master_key_id', 'valid_until']
       = to_jsonb(OLD) - ARRAY['sealed_private_key', 'master_key_id', 'valid_until']
     AND (OLD.valid_until IS NULL OR NEW.valid_until IS NOT DISTINCT FROM OLD.valid_until) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'signing_keys is immutable but for its end and its seal: UPDATE refused' USING ERRCODE = 'DB001';
END $$;

CREATE FUNCTION daybook.guard_anchor() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  progress constant text[] :=
    ARRAY['status', 'reference', 'evidence', 'anchored_at', 'attempts', 'next_attempt_at', 'last_error'];
BEGIN
  IF OLD.status = 'PENDING' AND to_jsonb(NEW) - progress = to_jsonb(OLD) - progress THEN
    RETURN NEW;
  END IF;
  IF OLD.status = 'ANCHORED' AND OLD.kept_at IS NULL AND to_jsonb(NEW) - 'kept_at' = to_jsonb(OLD) - 'kept_at' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'an anchored root is immutable: UPDATE refused' USING ERRCODE = 'DB001';
END $$;

CREATE FUNCTION daybook.guard_incident() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  acknowledgement constant text[] := ARRAY['acknowledged_at', 'acknowledged_by', 'acknowledgement_note'];
  closing constant text[] := ARRAY['closed_at', 'closed_by', 'closing_note'];
  counting constant text[] := ARRAY['status', 'occurrences', 'last_seen_at', 'details'];
BEGIN
  IF to_jsonb(NEW) - (counting || acknowledgement || closing) = to_jsonb(OLD) - (counting || acknowledgement || closing)
     AND NEW.occurrences >= OLD.occurrences
     AND OLD.status <> 'CLOSED'
     AND (OLD.status = 'OPEN' OR (NEW.status <> 'OPEN' AND NEW.acknowledged_at = OLD.acknowledged_at
          AND NEW.acknowledged_by = OLD.acknowledged_by AND NEW.acknowledgement_note = OLD.acknowledgement_note)) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'an incident moves on from OPEN to ACKNOWLEDGED to CLOSED: UPDATE refused' USING ERRCODE = 'DB001';
END $$;

CREATE TRIGGER guard_signing_key_trigger BEFORE UPDATE ON public.signing_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_signing_key();
CREATE TRIGGER guard_anchor_trigger BEFORE UPDATE ON public.anchors
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_anchor();
CREATE TRIGGER guard_incident_trigger BEFORE UPDATE ON public.incidents
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_incident();
ALTER TABLE public.signing_keys ENABLE ALWAYS TRIGGER guard_signing_key_trigger;
ALTER TABLE public.anchors ENABLE ALWAYS TRIGGER guard_anchor_trigger;
ALTER TABLE public.incidents ENABLE ALWAYS TRIGGER guard_incident_trigger;

-- A wake-up for subscribers, without content; the tables are the truth.
CREATE FUNCTION daybook.announce_proof() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('daybook_proofs', '');
  RETURN NULL;
END $$;
CREATE TRIGGER announce_proof_trigger AFTER INSERT ON public.checkpoints
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.announce_proof();
CREATE TRIGGER announce_proof_trigger AFTER INSERT ON public.merkle_roots
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.announce_proof();
