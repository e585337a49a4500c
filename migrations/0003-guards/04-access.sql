-- Triggers fire without a right to their functions; nobody calls the rest but them and the owner.
DO $$
DECLARE
  own_function regprocedure;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application')
     OR current_user <> 'daybook_owner' THEN
    RETURN;
  END IF;
  FOR own_function IN SELECT oid FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
    AND proname IN ('little_endian_number', 'ed25519_x', 'verify_ed25519', 'perfect_tree_root', 'verify_consistency',
      'count_entries', 'entry_time', 'refuse_row', 'note_fault', 'guard_new_signing_key', 'guard_signing_key',
      'guard_new_checkpoint', 'guard_new_tile', 'guard_new_merkle_root', 'guard_api_key', 'foreign_lock_holders')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', own_function);
  END LOOP;
  GRANT EXECUTE ON FUNCTION daybook.foreign_lock_holders() TO daybook_application, daybook_auditor;
END $$;
