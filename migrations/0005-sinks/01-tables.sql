-- How far the audit log was delivered to each sink. Rows are cursors, not evidence: the log can be delivered again from any
-- index that it still holds.
CREATE TABLE public.audit_sinks (
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL CONSTRAINT audit_sinks_name_form CHECK (name ~ '^[a-z0-9][a-z0-9-]*$' AND octet_length(name) <= 64),
  -- Which folder, for sinks of files: each folder is complete in itself. Empty for targets that all nodes share.
  place text NOT NULL DEFAULT '' CONSTRAINT audit_sinks_place_length CHECK (octet_length(place) <= 100),
  kind text NOT NULL CONSTRAINT audit_sinks_kind_known
    CHECK (kind IN ('jsonl', 'ecs', 'syslog', 'elasticsearch', 'webhook')),
  -- For people; without secrets.
  target text NOT NULL CONSTRAINT audit_sinks_target_length CHECK (char_length(target) BETWEEN 1 AND 2000),
  -- Index of the next entry: those before it were acknowledged.
  position bigint NOT NULL CONSTRAINT audit_sinks_position_range CHECK (position >= 0),
  -- Entries acknowledged so far, those of replays included.
  delivered bigint NOT NULL DEFAULT 0,
  replays integer NOT NULL DEFAULT 0,
  -- Failures in a row, what the last one was, and when the next try is due.
  failures integer NOT NULL DEFAULT 0 CONSTRAINT audit_sinks_failures_range CHECK (failures >= 0),
  last_error text CONSTRAINT audit_sinks_last_error_length CHECK (char_length(last_error) BETWEEN 1 AND 2000),
  next_attempt_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT audit_sinks_name_key UNIQUE (name, place)
) WITH (fillfactor = 50);

-- Positions move forward within the log. Back they go by a replay alone, whose SinkReplayed entry commits together with it.
CREATE FUNCTION daybook.guard_sink() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cursor_columns constant text[] := ARRAY['target', 'position', 'delivered', 'replays', 'failures', 'last_error',
    'next_attempt_at', 'updated_at'];
BEGIN
  IF NEW.position > (SELECT coalesce(max(chain_index) + 1, 0) FROM public.audit_entries) THEN
    RAISE EXCEPTION 'the position of sink % lies beyond the log', NEW.name USING ERRCODE = 'DB001';
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.delivered = 0 AND NEW.replays = 0 THEN
      RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a new sink has delivered nothing' USING ERRCODE = 'DB001';
  END IF;
  IF to_jsonb(NEW) - cursor_columns <> to_jsonb(OLD) - cursor_columns THEN
    RAISE EXCEPTION 'name, place and kind of a sink are immutable: UPDATE refused' USING ERRCODE = 'DB001';
  END IF;
  IF NEW.replays = OLD.replays AND NEW.position >= OLD.position
     AND NEW.delivered = OLD.delivered + NEW.position - OLD.position THEN
    RETURN NEW;
  END IF;
  IF NEW.replays = OLD.replays + 1 AND NEW.position <= OLD.position AND NEW.delivered = OLD.delivered
     AND (SELECT recorded.xid = pg_current_xact_id() AND recorded.resource = 'sink/' || NEW.name
          FROM public.audit_entries AS recorded WHERE recorded.event = 'SinkReplayed'
          ORDER BY recorded.chain_index DESC LIMIT 1) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'the position of sink % moves forward by what was delivered, back by a recorded replay alone', NEW.name
    USING ERRCODE = 'DB001';
END $$;

CREATE TRIGGER guard_sink_trigger BEFORE INSERT OR UPDATE ON public.audit_sinks
  FOR EACH ROW EXECUTE FUNCTION daybook.guard_sink();
CREATE TRIGGER prevent_removal_trigger BEFORE DELETE ON public.audit_sinks
  FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification();
CREATE TRIGGER prevent_truncation_trigger BEFORE TRUNCATE ON public.audit_sinks
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_modification();
ALTER TABLE public.audit_sinks ENABLE ALWAYS TRIGGER guard_sink_trigger;
ALTER TABLE public.audit_sinks ENABLE ALWAYS TRIGGER prevent_removal_trigger;
ALTER TABLE public.audit_sinks ENABLE ALWAYS TRIGGER prevent_truncation_trigger;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application') AND current_user = 'daybook_owner' THEN
    REVOKE ALL ON FUNCTION daybook.guard_sink() FROM PUBLIC;
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.audit_sinks TO daybook_application;
    GRANT SELECT ON public.audit_sinks TO daybook_auditor;
  END IF;
END $$;
