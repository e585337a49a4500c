-- Which status may follow which. What was promoted is never undone by a failure: from ROTATED on only forward, or back by
-- ROLLED_BACK while the version before is still valid.
CREATE FUNCTION daybook.may_follow(before text, after text) RETURNS boolean
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (before, after) IN (
    ('PLANNED', 'STAGED'), ('PLANNED', 'FAILED'), ('PLANNED', 'HELD'),
    ('STAGED', 'APPLYING'), ('STAGED', 'FAILED'), ('STAGED', 'HELD'),
    ('APPLYING', 'APPLIED'), ('APPLYING', 'UNKNOWN'), ('APPLYING', 'FAILED'),
    ('UNKNOWN', 'APPLIED'), ('UNKNOWN', 'STAGED'), ('UNKNOWN', 'HELD'), ('UNKNOWN', 'FAILED'),
    ('APPLIED', 'VERIFIED'), ('APPLIED', 'UNKNOWN'), ('APPLIED', 'FAILED'), ('APPLIED', 'HELD'),
    ('VERIFIED', 'ROTATED'), ('VERIFIED', 'UNKNOWN'), ('VERIFIED', 'FAILED'),
    ('HELD', 'UNKNOWN'), ('HELD', 'FAILED'), ('HELD', 'ROTATED'), ('HELD', 'ROLLED_BACK'),
    ('ROTATED', 'REVOKING'), ('ROTATED', 'HELD'), ('ROTATED', 'ROLLED_BACK'),
    ('REVOKING', 'REVOKED'), ('REVOKING', 'HELD'))
$$;

CREATE FUNCTION daybook.guard_rotation() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  progress constant text[] := ARRAY['status', 'rotated_at', 'grace_ends_at', 'updated_at', 'holder', 'leased_until', 'fence',
    'failures', 'next_attempt_at'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status = 'PLANNED' AND NEW.fence = 0 AND NEW.rotated_at IS NULL THEN
      RETURN NEW;
    END IF;
  ELSIF to_jsonb(NEW) - progress = to_jsonb(OLD) - progress AND NEW.fence >= OLD.fence
     AND (NEW.status = OLD.status OR daybook.may_follow(OLD.status, NEW.status)) THEN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a rotation does not go from % to %', OLD.status, NEW.status USING ERRCODE = 'DB001';
END $$;

-- The slot of the current value is never touched, nor are both within one grace period. A version keeps what it is: labels move,
-- values are destroyed, nothing else; save that a target makes the value of a pending version while it is applied.
CREATE FUNCTION daybook.guard_secret_version() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  progress constant text[] := ARRAY['label', 'sealed_value', 'data_key', 'current_from', 'revoked_at', 'facts',
    'drift_checked_at', 'drift_detected_at'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.slot IS NOT NULL AND EXISTS (SELECT FROM public.secret_versions AS other WHERE other.secret = NEW.secret
         AND other.label IN ('CURRENT', 'PREVIOUS') AND (other.slot = NEW.slot OR other.label = 'PREVIOUS')) THEN
      RAISE EXCEPTION 'slot % of this secret is in use', NEW.slot USING ERRCODE = 'DB009',
        HINT = 'Two slots are never changed within one grace period: wait until the previous value is revoked.';
    END IF;
    RETURN NEW;
  END IF;
  IF to_jsonb(NEW) - progress <> to_jsonb(OLD) - progress
     OR (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at OR NEW.label IS NOT NULL))
     OR (OLD.current_from IS NOT NULL AND NEW.current_from IS DISTINCT FROM OLD.current_from)
     OR (NEW.sealed_value IS DISTINCT FROM OLD.sealed_value AND NEW.sealed_value IS NOT NULL
         AND NOT (NEW.label = 'PENDING' AND OLD.label = 'PENDING' AND OLD.current_from IS NULL AND OLD.revoked_at IS NULL
                  AND EXISTS (SELECT FROM public.rotations AS rotation WHERE rotation.secret = OLD.secret
                    AND rotation.generation = OLD.generation AND rotation.status IN ('APPLYING', 'UNKNOWN'))))
     OR (NEW.label = 'CURRENT' AND NEW.current_from IS NULL) THEN
    RAISE EXCEPTION 'a version of a secret does not change: UPDATE refused' USING ERRCODE = 'DB001';
  END IF;
  RETURN NEW;
END $$;

-- A signing key beside the one that signs comes from a rotation that is applying it, and so do a second API key of one name and an
-- encryption key after the first: a node that was overtaken, and is late, brings none.
CREATE FUNCTION daybook.guard_rotated_key() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  secret_type constant text := CASE TG_TABLE_NAME WHEN 'signing_keys' THEN 'SIGNING_KEY' WHEN 'api_keys' THEN 'API_KEY'
    ELSE 'ENCRYPTION_KEY' END;
  new_key constant jsonb := to_jsonb(NEW);
BEGIN
  IF daybook.is_restoring() THEN
    RETURN NEW;
  END IF;
  IF NEW.generation = 1 THEN
    IF TG_TABLE_NAME = 'api_keys' AND EXISTS (SELECT FROM public.api_keys WHERE name = new_key ->> 'name' AND revoked_at IS NULL) THEN
      RAISE EXCEPTION 'a valid key has this name' USING ERRCODE = '23505', CONSTRAINT = 'api_keys_name_key';
    END IF;
    IF TG_TABLE_NAME = 'signing_keys' AND (new_key ->> 'valid_until') IS NULL AND EXISTS (
         SELECT FROM public.signing_keys WHERE log = new_key ->> 'log' AND valid_until IS NULL) THEN
      RAISE EXCEPTION 'the log has a key that signs' USING ERRCODE = '23505', CONSTRAINT = 'signing_keys_generation_key';
    END IF;
    RETURN NEW;
  END IF;
  IF EXISTS (SELECT FROM public.secrets AS secret JOIN public.rotations AS rotation ON rotation.secret = secret.id
       WHERE secret.type = secret_type AND secret.name = coalesce(new_key ->> 'log', new_key ->> 'name', secret.name)
         AND rotation.generation = NEW.generation AND rotation.status = 'APPLYING') THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'no rotation applies generation % of this key', NEW.generation USING ERRCODE = 'DB007';
END $$;
CREATE TRIGGER guard_rotated_key_trigger BEFORE INSERT ON public.signing_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_rotated_key();
CREATE TRIGGER guard_rotated_key_trigger BEFORE INSERT ON public.api_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_rotated_key();
CREATE TRIGGER guard_rotated_key_trigger BEFORE INSERT ON public.encryption_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_rotated_key();
ALTER TABLE public.signing_keys ENABLE ALWAYS TRIGGER guard_rotated_key_trigger;
ALTER TABLE public.api_keys ENABLE ALWAYS TRIGGER guard_rotated_key_trigger;
ALTER TABLE public.encryption_keys ENABLE ALWAYS TRIGGER guard_rotated_key_trigger;

-- What is sealed now is sealed with a key that is there: its destruction waits for this transaction, or is seen by it.
CREATE FUNCTION daybook.guard_data_key() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM public.encryption_keys WHERE generation = NEW.generation AND wrapped IS NOT NULL FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the encryption key of generation % was destroyed', NEW.generation USING ERRCODE = 'DB009';
  END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION daybook.guard_encryption_key() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.generation = OLD.generation AND NEW.created_at = OLD.created_at AND OLD.wrapped IS NOT NULL THEN
    IF NEW.wrapped IS NOT NULL AND NEW.destroyed_at IS NULL THEN
      -- Wrapped anew by another root key.
      RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM public.data_keys WHERE generation = OLD.generation)
       AND OLD.generation < (SELECT max(generation) FROM public.encryption_keys) THEN
      NEW.destroyed_at := clock_timestamp();
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'encryption key % still wraps what must be readable, or is the newest: UPDATE refused', OLD.generation
    USING ERRCODE = 'DB001';
END $$;
CREATE TRIGGER guard_data_key_trigger BEFORE INSERT OR UPDATE ON public.data_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_data_key();
CREATE TRIGGER guard_encryption_key_trigger BEFORE UPDATE ON public.encryption_keys
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_encryption_key();
ALTER TABLE public.data_keys ENABLE ALWAYS TRIGGER guard_data_key_trigger;
ALTER TABLE public.encryption_keys ENABLE ALWAYS TRIGGER guard_encryption_key_trigger;

CREATE TRIGGER guard_rotation_trigger BEFORE INSERT OR UPDATE ON public.rotations
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_rotation();
CREATE TRIGGER guard_secret_version_trigger BEFORE INSERT OR UPDATE ON public.secret_versions
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_secret_version();
ALTER TABLE public.rotations ENABLE ALWAYS TRIGGER guard_rotation_trigger;
ALTER TABLE public.secret_versions ENABLE ALWAYS TRIGGER guard_secret_version_trigger;

CREATE TRIGGER prevent_modification_trigger BEFORE UPDATE OR DELETE ON public.rotation_steps
  FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification();
ALTER TABLE public.rotation_steps ENABLE ALWAYS TRIGGER prevent_modification_trigger;
DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['encryption_keys', 'data_keys', 'secrets', 'secret_versions', 'rotations', 'rotation_policies',
    'rotation_notices'] LOOP
    EXECUTE format('CREATE TRIGGER prevent_removal_trigger BEFORE DELETE ON public.%I
      FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()', kept);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_removal_trigger', kept);
  END LOOP;
  FOREACH kept IN ARRAY ARRAY['encryption_keys', 'data_keys', 'secrets', 'secret_versions', 'rotations', 'rotation_steps',
    'rotation_policies', 'rotation_notices'] LOOP
    EXECUTE format('CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', kept);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_truncation_trigger', kept);
  END LOOP;
END $$;
