-- The one way into the ledger. Three triggers per log: the statement takes the lock and reads the tail (04), each row gets
-- its index, times, body and hashes (here), and the end of the statement checks from the table itself that the new rows
-- continue the chain (04). The running tail travels between rows in transaction-local settings (daybook.<log>_index, _hash, _time): a
-- caller could set those in the middle of its own statement, which the check at the end refuses.

-- Taken by every append to either log and held to commit. Two locks would deadlock writers that mix the logs.
CREATE FUNCTION daybook.lock_ledger() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$ SELECT pg_advisory_xact_lock(7219460237150041) $$;

-- True inside the transaction that declared a restore (05-restore.sql).
CREATE FUNCTION daybook.is_restoring() RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM public.ledger_restores WHERE xid = pg_current_xact_id())
$$;

CREATE FUNCTION daybook.append_signal() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment text := current_setting('daybook.signals_time');
  supplied public.signals;
  restoring boolean := current_setting('daybook.signals_restoring') = 'on' AND daybook.is_restoring();
  ignored text;
BEGIN
  IF restoring THEN
    supplied := NEW;
    moment := daybook.format_time(NEW.server_timestamp);
  END IF;
  IF NEW.supersedes IS NOT NULL AND NOT EXISTS (SELECT FROM public.signals WHERE signal_id = NEW.supersedes) THEN
    RAISE EXCEPTION 'signal % cannot be superseded: it is not recorded', left(NEW.supersedes, 128)
      USING ERRCODE = 'DB003', CONSTRAINT = 'signals_supersedes_known';
  END IF;
  NEW.chain_index := current_setting('daybook.signals_index')::bigint + 1;
  NEW.server_timestamp := moment::timestamptz;
  -- Printed anew: a forged setting could give the right time in another form, which the body would keep.
  moment := to_char(NEW.server_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  NEW.producer := coalesce(NEW.producer, session_user);
  IF NEW.session_id IS NULL AND NOT restoring THEN
    NEW.session_id := 'postgres:' || pg_backend_pid();
    NEW.ip_address := coalesce(NEW.ip_address, host(inet_client_addr()));
  END IF;
  NEW.generated_at := coalesce(NEW.generated_at, NEW.server_timestamp);
  IF NEW.generated_at > NEW.server_timestamp + interval '5 minutes' THEN
    RAISE EXCEPTION 'generated_at % lies in the future: the server says %', NEW.generated_at, NEW.server_timestamp
      USING ERRCODE = 'check_violation', CONSTRAINT = 'signals_generated_at_past';
  END IF;
  NEW.generation_latency_ms :=
    trim_scale(extract(epoch FROM NEW.server_timestamp - NEW.generated_at) * 1000);
  -- Calendar years counted in UTC: under a session in another time zone the sum can be an hour off.
  NEW.retention_expires_at := (NEW.server_timestamp AT TIME ZONE 'UTC' + interval '7 years') AT TIME ZONE 'UTC';
  NEW.xid := pg_current_xact_id();
  NEW.previous_hash := decode(current_setting('daybook.signals_hash'), 'hex');
  -- Keys in the order of RFC 8785; concat skips what is NULL, so absent values are absent keys.
  NEW.body := concat(
    '{"action":"' || NEW.action, '","confidence":"' || trim_scale(NEW.confidence),
    '","entryPrice":"' || trim_scale(NEW.entry_price),
    '","generatedAt":"', CASE WHEN NEW.generated_at = NEW.server_timestamp THEN moment
                              ELSE daybook.format_time(NEW.generated_at) END, '",',
    '"idempotencyKey":' || to_json(NEW.idempotency_key)::text || ',',
    '"inputHash":"' || encode(NEW.input_hash, 'hex') || '",',
    '"ipAddress":' || to_json(NEW.ip_address)::text || ',',
    '"producer":' || to_json(NEW.producer)::text,
    ',"rationale":' || to_json(NEW.rationale)::text,
    ',"rationaleOrigin":"' || NEW.rationale_origin || '",',
    '"requestId":' || to_json(NEW.request_id)::text || ',',
    '"serverTimestamp":"', moment, '",',
    '"sessionId":' || to_json(NEW.session_id)::text || ',',
    '"signalId":"' || NEW.signal_id || '",',
    '"stopLoss":"' || trim_scale(NEW.stop_loss) || '",',
    '"strategy":' || to_json(NEW.strategy)::text || ',',
    '"supersedes":"' || NEW.supersedes || '",',
    '"symbol":"' || NEW.symbol || '",',
    '"targetPrice":"' || trim_scale(NEW.target_price) || '",',
    '"type":"signal","v":1}');
  NEW.verification_hash := sha256(decode('00', 'hex') || convert_to(NEW.body, 'UTF8'));
  NEW.chain_hash := sha256(decode('02', 'hex') || NEW.previous_hash || NEW.verification_hash);
  IF restoring THEN
    PERFORM daybook.compare_restored('signals', to_jsonb(NEW) - 'xid', to_jsonb(supplied) - 'xid');
  END IF;
  ignored := set_config('daybook.signals_index', NEW.chain_index::text, true);
  ignored := set_config('daybook.signals_hash', encode(NEW.chain_hash, 'hex'), true);
  RETURN NEW;
END $$;

CREATE FUNCTION daybook.append_audit_entry() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment text := current_setting('daybook.audit_entries_time');
  supplied public.audit_entries;
  restoring boolean := current_setting('daybook.audit_entries_restoring') = 'on' AND daybook.is_restoring();
  ignored text;
BEGIN
  IF restoring THEN
    supplied := NEW;
    moment := daybook.format_time(NEW.recorded_at);
  ELSIF current_setting('daybook.canonical', true) IS DISTINCT FROM 'on' THEN
    NEW.details := daybook.canonical_json(NEW.details)::json;
    NEW.old_data := daybook.canonical_json(NEW.old_data)::json;
    NEW.new_data := daybook.canonical_json(NEW.new_data)::json;
    NEW.actor := coalesce(NEW.actor, session_user);
    IF NEW.session_id IS NULL THEN
      NEW.session_id := 'postgres:' || pg_backend_pid();
      NEW.ip_address := coalesce(NEW.ip_address, host(inet_client_addr()));
    END IF;
  END IF;
  IF NEW.event = 'SignalCreated' AND pg_trigger_depth() < 2 AND NOT restoring THEN
    RAISE EXCEPTION 'SignalCreated entries are written by the insertion of the signal alone'
      USING ERRCODE = 'DB003', CONSTRAINT = 'audit_entries_event_reserved';
  END IF;
  NEW.chain_index := current_setting('daybook.audit_entries_index')::bigint + 1;
  NEW.recorded_at := moment::timestamptz;
  moment := to_char(NEW.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  NEW.occurred_at := coalesce(NEW.occurred_at, NEW.recorded_at);
  NEW.xid := pg_current_xact_id();
  NEW.previous_hash := decode(current_setting('daybook.audit_entries_hash'), 'hex');
  NEW.body := concat(
    '{', '"action":"' || NEW.action || '",',
    '"actor":' || to_json(NEW.actor)::text || ',',
    '"category":"' || NEW.category, '","details":' || NEW.details::text, ',"event":"' || NEW.event,
    '","id":"' || NEW.id || '",',
    '"idempotencyKey":' || to_json(NEW.idempotency_key)::text || ',',
    '"inputHash":"' || encode(NEW.input_hash, 'hex') || '",',
    '"ipAddress":' || to_json(NEW.ip_address)::text || ',',
    '"newData":' || NEW.new_data::text || ',',
    '"occurredAt":"', CASE WHEN NEW.occurred_at = NEW.recorded_at THEN moment
                           ELSE daybook.format_time(NEW.occurred_at) END, '",',
    '"oldData":' || NEW.old_data::text || ',',
    '"outcome":"' || NEW.outcome, '","recordedAt":"', moment, '",',
    '"requestId":' || to_json(NEW.request_id)::text || ',',
    '"resource":' || to_json(NEW.resource)::text || ',',
    '"role":"' || NEW.role || '",',
    '"sessionId":' || to_json(NEW.session_id)::text || ',',
    '"signalId":' || to_json(NEW.signal_id)::text || ',',
    '"type":"audit",',
    '"userAgent":' || to_json(NEW.user_agent)::text || ',',
    '"v":1}');
  NEW.verification_hash := sha256(decode('00', 'hex') || convert_to(NEW.body, 'UTF8'));
  NEW.chain_hash := sha256(decode('02', 'hex') || NEW.previous_hash || NEW.verification_hash);
  IF restoring THEN
    PERFORM daybook.compare_restored('audit_entries', to_jsonb(NEW) - 'xid', to_jsonb(supplied) - 'xid');
  END IF;
  ignored := set_config('daybook.audit_entries_index', NEW.chain_index::text, true);
  ignored := set_config('daybook.audit_entries_hash', encode(NEW.chain_hash, 'hex'), true);
  RETURN NEW;
END $$;

-- A signal's audit entry commits with the signal or not at all.
CREATE FUNCTION daybook.log_signal_creation() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  canonical_before text := current_setting('daybook.canonical', true);
BEGIN
  IF daybook.is_restoring() THEN
    RETURN NULL;
  END IF;
  PERFORM set_config('daybook.canonical', 'on', true);
  INSERT INTO public.audit_entries
    (category, event, action, actor, resource, signal_id, occurred_at, ip_address, session_id, request_id, details)
  SELECT 'SIGNAL', 'SignalCreated', 'CREATE', producer, symbol, signal_id, server_timestamp, ip_address, session_id,
         request_id, ('{"chainIndex":"' || chain_index || '","databaseUser":' || to_json(session_user::text)
           || ',"verificationHash":"' || encode(verification_hash, 'hex') || '"}')::json
  FROM new_rows ORDER BY chain_index;
  PERFORM set_config('daybook.canonical', coalesce(canonical_before, 'off'), true);
  RETURN NULL;
END $$;

CREATE TRIGGER append_signal_trigger BEFORE INSERT ON public.signals
  FOR EACH ROW EXECUTE FUNCTION daybook.append_signal();
CREATE TRIGGER log_signal_creation_trigger AFTER INSERT ON public.signals
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION daybook.log_signal_creation();
CREATE TRIGGER append_audit_entry_trigger BEFORE INSERT ON public.audit_entries
  FOR EACH ROW EXECUTE FUNCTION daybook.append_audit_entry();
ALTER TABLE public.signals ENABLE ALWAYS TRIGGER append_signal_trigger;
ALTER TABLE public.signals ENABLE ALWAYS TRIGGER log_signal_creation_trigger;
ALTER TABLE public.audit_entries ENABLE ALWAYS TRIGGER append_audit_entry_trigger;
