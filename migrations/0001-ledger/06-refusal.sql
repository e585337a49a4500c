-- Refused modifications. An INSERT by the refusing trigger would be rolled back with the statement it refuses; what stays
-- is the number (a sequence), the server log line, and the record written through a connection of its own.

-- Hides what is shaped like a key or token, credentials in URLs, and what follows words such as password or token.
CREATE FUNCTION daybook.redact_statement(statement text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT left(regexp_replace(regexp_replace(regexp_replace(left(statement, 20000),
    '-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*|daybook_[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+'
    || '|(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|\m(sk|pk|rk|whsec|gh[opusr]|github_pat|glpat|xox[abeoprs])[-_][A-Za-z0-9_-]{16,}'
    || '|\m[Bb](earer|asic)\s+[A-Za-z0-9._~+/=-]{8,}', '[redacted]', 'g'),
    '(://)[^\s@/''"]*:[^\s@''"]+@', '\1[redacted]@', 'g'),
    '((passw(or)?d|passphrase|pwd|secret|token|credential|(api|access|private|signing)[_ -]?key|authorization|cookie|jsessionid|phpsessid)[a-z0-9_]*["'']?\s*'
    || '(=>|=|:|(to|is)\s)?\s*)(''([^'']|'''')*''|"[^"]*"|[^\s;]+)', '\1[redacted]', 'gi'), 4000)
$$;

-- A row as JSON without the bytes that its other columns give. A long value, and a row of many, is replaced by its size
-- and hash: an entry's body holds at most 65,535 bytes, and whoever attempts an update chooses what the new row holds. What an
-- update would have put in place of the row `before` is redacted like its statement.
CREATE FUNCTION daybook.attempt_row(stored jsonb, before jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN octet_length(written) <= 16000 THEN written ELSE
    '{"bytes":"' || octet_length(written) || '","sha256":"' || encode(sha256(convert_to(written, 'UTF8')), 'hex') || '"}' END
  FROM (
    SELECT daybook.canonical_json(jsonb_object_agg(key, CASE
      WHEN plain IS NULL THEN 'null'
      WHEN octet_length(plain) > 4000 THEN jsonb_build_object('bytes', octet_length(plain)::text,
        'sha256', encode(sha256(convert_to(plain, 'UTF8')), 'hex'))
      WHEN before IS NULL OR before ->> key IS NOT DISTINCT FROM plain THEN to_jsonb(plain)
      ELSE to_jsonb(daybook.redact_statement(plain)) END)::json) AS written
    FROM (SELECT key, value #>> '{}' AS plain FROM jsonb_each(stored) WHERE key NOT IN ('body', 'sealed_private_key', 'key_hash', 'sealed_value',
      'wrapped')) AS columns
  ) AS row_text
$$;

-- Whether the transaction removes archived entries, and `chain_index`, where there is one, is among them.
CREATE FUNCTION daybook.is_purging(chain_index bigint) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT xid = pg_current_xact_id() AND coalesce(is_purging.chain_index < first_kept_index, true)
                   FROM public.ledger_purges ORDER BY number DESC LIMIT 1), false)
$$;

-- Refuses the statement. Row triggers hand in the first row; the statement trigger runs only when no row matched, because
-- the row trigger has raised otherwise. Each attempt so leaves exactly one record.
CREATE FUNCTION daybook.refuse_modification() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  number bigint;
  stored_old text;
  stored_new text;
  signal text;
  attempt json;
BEGIN
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('audit_entries', 'ledger_subxacts') THEN
    IF TG_LEVEL = 'STATEMENT' THEN
      IF daybook.is_purging(NULL) THEN
        RETURN NULL;
      END IF;
    ELSIF TG_TABLE_NAME = 'audit_entries' THEN
      IF daybook.is_purging(OLD.chain_index) THEN
        RETURN OLD;
      END IF;
    ELSIF OLD.log = 'audit' AND daybook.is_purging(OLD.last_index) THEN
      RETURN OLD;
    END IF;
  END IF;
  number := nextval('public.modification_attempt_number');
  IF TG_LEVEL = 'ROW' THEN
    BEGIN
      signal := to_jsonb(OLD) ->> 'signal_id';
      stored_old := daybook.attempt_row(to_jsonb(OLD), NULL);
      IF TG_OP = 'UPDATE' THEN
        stored_new := daybook.attempt_row(to_jsonb(NEW), to_jsonb(OLD));
      END IF;
    EXCEPTION WHEN OTHERS THEN
      -- JSON may hold what jsonb cannot, such as \u0000: the attempt is recorded without that row.
      RAISE LOG 'daybook modification attempt %: a row could not be read: %', number, SQLERRM;
    END;
  END IF;
  attempt := json_build_object('attempt', number, 'operation', TG_OP, 'table', TG_TABLE_NAME,
    'session_user', session_user, 'application', current_setting('application_name'),
    'client', host(inet_client_addr()), 'pid', pg_backend_pid(), 'signal_id', signal,
    'statement', daybook.redact_statement(current_query()));
  RAISE LOG 'daybook modification refused: %', attempt;
  -- Without the foreign server this layer is missing and the health report says so; the number and the log line remain.
  IF EXISTS (SELECT FROM pg_foreign_server WHERE srvname = 'daybook_attempts') THEN
    BEGIN
      EXECUTE 'SELECT daybook.dblink_exec($1, $2)' USING 'daybook_attempts', format(
        'SET statement_timeout = %L; SET lock_timeout = %L; INSERT INTO public.modification_attempts (attempt_number, '
        || 'operation, table_name, session_user_name, current_user_name, application_name, client_address, backend_pid, '
        || 'statement, signal_id, old_data, new_data) VALUES (%s, %L, %L, %L, %L, %L, %L, %s, %L, %L, %L, %L); '
        || 'NOTIFY daybook_attempts',
        '2s', '1s', number, TG_OP, TG_TABLE_NAME, session_user, current_setting('role'), attempt ->> 'application',
        attempt ->> 'client', pg_backend_pid(), attempt ->> 'statement', signal, stored_old, stored_new);
    EXCEPTION WHEN OTHERS THEN
      -- The refusal below stands whatever became of its record; reconciliation finds the number without one.
      RAISE LOG 'daybook modification attempt % could not be recorded: %', number, SQLERRM;
    END;
  END IF;
  RAISE EXCEPTION '% is immutable: % refused (attempt %)', TG_TABLE_NAME, TG_OP, number
    USING ERRCODE = 'DB001', TABLE = TG_TABLE_NAME,
    HINT = 'Ledger rows are never changed or removed. To correct a signal, record a new one that supersedes it.';
END $$;

DO $$
DECLARE
  ledger_table text;
  prefix text;
BEGIN
  FOREACH ledger_table IN ARRAY ARRAY['signals', 'audit_entries', 'ledger_subxacts', 'ledger_purges'] LOOP
    prefix := CASE ledger_table WHEN 'signals' THEN 'signal' WHEN 'audit_entries' THEN 'audit'
      WHEN 'ledger_subxacts' THEN 'subxact' ELSE 'purge' END;
    EXECUTE format('CREATE TRIGGER prevent_%s_modification_trigger BEFORE UPDATE OR DELETE ON public.%I
      FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()', prefix, ledger_table);
    EXECUTE format('CREATE TRIGGER prevent_%s_modification_without_rows_trigger AFTER UPDATE OR DELETE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', prefix, ledger_table);
    EXECUTE format('CREATE TRIGGER prevent_%s_truncation_trigger BEFORE TRUNCATE ON public.%I
      FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification()', prefix, ledger_table);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_%s_modification_trigger', ledger_table, prefix);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_%s_modification_without_rows_trigger',
      ledger_table, prefix);
    EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prevent_%s_truncation_trigger', ledger_table, prefix);
  END LOOP;
END $$;

-- Attempts may be added and, by reconcile_attempts alone, marked as entered; nothing else happens to them.
CREATE FUNCTION daybook.guard_attempts() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.audit_index IS NULL AND NEW.audit_index IS NOT NULL
     AND to_jsonb(NEW) - 'audit_index' = to_jsonb(OLD) - 'audit_index' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'modification_attempts is immutable: % refused', TG_OP USING ERRCODE = 'DB001';
END $$;
CREATE TRIGGER guard_attempts_trigger BEFORE UPDATE OR DELETE ON public.modification_attempts
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_attempts();
CREATE TRIGGER guard_attempts_truncation_trigger BEFORE TRUNCATE ON public.modification_attempts
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.guard_attempts();
ALTER TABLE public.modification_attempts ENABLE ALWAYS TRIGGER guard_attempts_trigger;
ALTER TABLE public.modification_attempts ENABLE ALWAYS TRIGGER guard_attempts_truncation_trigger;

-- The event trigger's function; the trigger itself needs a superuser and is installed beside the migration
-- (src/db/refusal-layers.ts). Deny by default, by who asks and never by a setting or an object's name, which could be
-- forged or renamed. Temporary objects and REINDEX are let through.
CREATE OR REPLACE FUNCTION daybook.refuse_ddl() RETURNS event_trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  offending text;
BEGIN
  IF session_user = 'daybook_migrator' OR TG_TAG = 'REINDEX' THEN
    RETURN;
  END IF;
  -- Before the command, for drops that could take this function along; whatever they name is not the caller's to drop.
  IF TG_EVENT = 'ddl_command_start' THEN
    offending := 'its schema';
  ELSIF TG_EVENT = 'sql_drop' THEN
    SELECT object_identity INTO offending FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary LIMIT 1;
  ELSE
    SELECT coalesce(object_identity, command_tag) INTO offending FROM pg_event_trigger_ddl_commands()
      WHERE schema_name IS DISTINCT FROM 'pg_temp' LIMIT 1;
  END IF;
  IF offending IS NOT NULL THEN
    RAISE EXCEPTION 'the ledger''s database is immutable to %: % on % refused', session_user, TG_TAG, offending
      USING ERRCODE = 'DB001', HINT = 'Only migrations change the schema, as the migrator.';
  END IF;
END $$;
