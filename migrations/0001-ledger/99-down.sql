-- Evidence is not dropped: this runs only while both logs are empty.
DO $$
BEGIN
  LOCK TABLE public.signals, public.audit_entries IN ACCESS EXCLUSIVE MODE;
  IF EXISTS (SELECT FROM public.signals) OR EXISTS (SELECT FROM public.audit_entries)
     OR EXISTS (SELECT FROM public.modification_attempts) THEN
    RAISE EXCEPTION 'the ledger holds entries and is not dropped' USING ERRCODE = 'DB006',
      HINT = 'Archive first: back the database up, verify the copy, and start over in a new database.';
  END IF;
END $$;
DROP VIEW public.signal_audit_log;
-- Functions first: some take rows of the tables. CASCADE takes their triggers along.
DO $$
DECLARE
  dropped regprocedure;
BEGIN
  FOR dropped IN SELECT routine.oid::regprocedure FROM pg_proc AS routine
    WHERE routine.pronamespace = 'daybook'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = routine.oid AND deptype = 'e')
      AND routine.prorettype <> 'event_trigger'::regtype
  LOOP
    EXECUTE format('DROP FUNCTION IF EXISTS %s CASCADE', dropped);
  END LOOP;
END $$;
DROP TABLE public.signals, public.audit_entries, public.ledger_subxacts, public.ledger_restores, public.ledger_purges,
  public.modification_attempts, public.modification_watch, public.api_keys;
DROP SEQUENCE public.modification_attempt_number;
