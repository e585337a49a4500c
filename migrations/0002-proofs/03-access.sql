-- Grants, on servers where the roles are separate. The application keeps the right to try what the triggers refuse, so that
-- an attempt leaves its record. The auditor reads everything but sealed private keys.
DO $$
DECLARE
  own_function regprocedure;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application')
     OR current_user <> 'daybook_owner' THEN
    RETURN;
  END IF;
  FOR own_function IN SELECT oid FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
    AND proname IN ('guard_signing_key', 'guard_anchor', 'guard_incident', 'announce_proof')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', own_function);
  END LOOP;
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.ledger_tiles, public.checkpoints, public.merkle_roots,
    public.integrity_baselines, public.integrity_checksum_log, public.signing_keys, public.anchors, public.incidents
    TO daybook_application;
  GRANT SELECT ON public.ledger_tiles, public.checkpoints, public.merkle_roots, public.anchors,
    public.integrity_baselines, public.integrity_checksum_log, public.incidents TO daybook_auditor;
  GRANT SELECT (origin, key_id, log, public_key, master_key_id, valid_from, valid_until) ON public.signing_keys
    TO daybook_auditor;
END $$;
