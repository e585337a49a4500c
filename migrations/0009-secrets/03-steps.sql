-- One step of a rotation: the status moves where the caller still holds the lease, and the step is noted. Raises DB009 where
-- somebody else has taken over.
CREATE FUNCTION daybook.step_rotation(rotation_id uuid, held_fence bigint, before text, after text, step_note text)
  RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.rotations SET status = after,
      rotated_at = CASE WHEN after = 'ROTATED' THEN coalesce(rotated_at, clock_timestamp()) ELSE rotated_at END,
      grace_ends_at = CASE WHEN after = 'ROTATED' THEN coalesce(grace_ends_at, clock_timestamp() + grace) ELSE grace_ends_at END,
      failures = 0, next_attempt_at = clock_timestamp(),
      -- At its end it is let go of: whoever looks for others that work on the secret finds none.
      leased_until = CASE WHEN after IN ('REVOKED', 'FAILED', 'ROLLED_BACK') THEN NULL ELSE leased_until END
    WHERE id = rotation_id AND fence = held_fence AND status = before;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'rotation % is no longer held, or no longer %', rotation_id, before USING ERRCODE = 'DB009';
  END IF;
  INSERT INTO public.rotation_steps (rotation, step, status, note)
    SELECT rotation_id, coalesce(max(step), 0) + 1, after, step_note FROM public.rotation_steps WHERE rotation = rotation_id;
END $$;

-- Waits for whoever changes the rotation, and raises DB009 where the caller holds it no more, or it applies nothing.
CREATE FUNCTION daybook.require_rotation_held(rotation_id uuid, held_fence bigint) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM public.rotations WHERE id = rotation_id AND fence = held_fence
    AND status IN ('APPLYING', 'UNKNOWN', 'APPLIED') FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'rotation % is no longer held', rotation_id USING ERRCODE = 'DB009';
  END IF;
END $$;

CREATE FUNCTION daybook.refuse_rotation(secret_name text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% is being rotated already', secret_name USING ERRCODE = 'DB009';
END $$;

-- Moves the labels in one statement: PENDING becomes CURRENT, CURRENT becomes PREVIOUS.
CREATE FUNCTION daybook.promote_version(of_secret uuid, pending_generation integer) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.secret_versions SET label = NULL WHERE secret = of_secret AND label = 'PREVIOUS';
  UPDATE public.secret_versions SET label = 'PREVIOUS' WHERE secret = of_secret AND label = 'CURRENT';
  UPDATE public.secret_versions SET label = 'CURRENT', current_from = clock_timestamp()
    WHERE secret = of_secret AND generation = pending_generation AND label = 'PENDING';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'version % is not pending', pending_generation USING ERRCODE = 'DB009';
  END IF;
END $$;

-- The way back, while the version before is still valid.
CREATE FUNCTION daybook.demote_version(of_secret uuid, current_generation integer) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM public.secret_versions WHERE secret = of_secret AND label = 'PREVIOUS' AND revoked_at IS NULL) THEN
    RAISE EXCEPTION 'the version before is not valid any more' USING ERRCODE = 'DB009';
  END IF;
  UPDATE public.secret_versions SET label = NULL WHERE secret = of_secret AND generation = current_generation
    AND label = 'CURRENT';
  UPDATE public.secret_versions SET label = 'CURRENT' WHERE secret = of_secret AND label = 'PREVIOUS';
END $$;

DO $$
DECLARE
  own_function regprocedure;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application') OR current_user <> 'daybook_owner' THEN
    RETURN;
  END IF;
  FOR own_function IN SELECT oid FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
    AND proname IN ('may_follow', 'guard_rotation', 'guard_secret_version', 'guard_rotated_key', 'guard_data_key',
      'guard_encryption_key', 'step_rotation', 'promote_version', 'demote_version', 'refuse_rotation', 'require_rotation_held')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', own_function);
  END LOOP;
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.encryption_keys, public.data_keys, public.secrets, public.secret_versions,
    public.rotations, public.rotation_steps, public.rotation_policies, public.rotation_notices TO daybook_application;
  GRANT SELECT ON public.rotations, public.rotation_steps, public.rotation_policies, public.rotation_notices TO daybook_auditor;
  -- Not what is sealed: the auditor has no use for it.
  GRANT SELECT (id, type, name, settings, zero_downtime, registered_at, registered_by) ON public.secrets TO daybook_auditor;
  GRANT SELECT (secret, generation, label, slot, facts, created_at, current_from, revoked_at, drift_checked_at, drift_detected_at)
    ON public.secret_versions TO daybook_auditor;
  GRANT SELECT (generation, root_key_id, created_at, destroyed_at) ON public.encryption_keys TO daybook_auditor;
  GRANT EXECUTE ON FUNCTION daybook.may_follow(text, text), daybook.step_rotation(uuid, bigint, text, text, text),
    daybook.promote_version(uuid, integer), daybook.demote_version(uuid, integer), daybook.refuse_rotation(text),
    daybook.require_rotation_held(uuid, bigint) TO daybook_application;
END $$;
