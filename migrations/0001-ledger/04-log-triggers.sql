-- Instantiated once per log: {{table}}, its recording time {{recorded}}, its name {{log}}, and {{floor}}, a time before which
-- it records nothing. Static statements, because a dynamic one is planned anew at each append.
--
-- The floor of signals is the audit log's last time: sealing a day leaves an audit entry after its midnight, so that a clock
-- which is set back brings no signal into a sealed day. The audit log's own last time keeps its entries out of it.
CREATE FUNCTION daybook.begin_{{table}}_append() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tail record;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION '% accepts entries only under READ COMMITTED, not %', '{{table}}',
      upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'DB002', HINT = 'Only READ COMMITTED sees the tail that other writers just committed.';
  END IF;
  -- daybook.lock_ledger() and daybook.is_restoring() written out: as calls they take a third of this trigger's time.
  PERFORM pg_advisory_xact_lock(7219460237150041);
  SELECT chain_index, chain_hash, {{recorded}} AS recorded INTO tail
    FROM public.{{table}} ORDER BY chain_index DESC LIMIT 1;
  PERFORM
    set_config('daybook.{{table}}_index', coalesce(tail.chain_index, -1)::text, true),
    set_config('daybook.{{table}}_hash', coalesce(encode(tail.chain_hash, 'hex'), repeat('00', 32)), true),
    -- Taken under the lock and never before the predecessor's, so the order of times is the order of indexes. Nor before the
    -- statement's begin, for the clock may go back while it waits for the lock.
    set_config('daybook.{{table}}_time', daybook.format_time(
      greatest(clock_timestamp(), statement_timestamp(), tail.recorded, {{floor}})), true),
    set_config('daybook.{{table}}_restoring', CASE WHEN EXISTS (
      SELECT FROM public.ledger_restores WHERE xid = pg_current_xact_id()) THEN 'on' ELSE 'off' END, true);
  RETURN NULL;
END $$;

-- Reads the statement's rows back from the table, together with their predecessor, and refuses the statement unless they
-- continue the chain without a gap. A gap arises where ON CONFLICT DO NOTHING dropped a row that had its index.
CREATE FUNCTION daybook.end_{{table}}_append() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- The range is read by the primary key whatever its bounds; a plan made anew for each statement costs 100 µs.
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  first_index bigint;
  last_index bigint;
  seen record;
BEGIN
  SELECT min(chain_index), max(chain_index) INTO first_index, last_index FROM new_rows;
  IF first_index IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT count(*) AS rows, coalesce(bool_and(linked), true) AS linked, bool_or(foreign_xmin) AS foreign_xmin,
         bool_and(recorded >= coalesce(predecessor_recorded, recorded)
                  AND recorded >= statement_timestamp()
                  AND (recorded <= greatest(clock_timestamp(), statement_timestamp(), {{floor}})
                       OR recorded = predecessor_recorded)) AS timely
    INTO seen
    FROM (SELECT chain_index,
                 -- Only index 0 may start a chain: elsewhere a missing predecessor is a gap.
                 coalesce(previous_hash = lag(chain_hash, 1, CASE WHEN first_index = 0
                   THEN decode(repeat('00', 32), 'hex') END) OVER ascending, false) AS linked,
                 {{recorded}} AS recorded, lag({{recorded}}) OVER ascending AS predecessor_recorded,
                 xmin <> pg_current_xact_id()::xid AS foreign_xmin
          FROM public.{{table}} WHERE chain_index BETWEEN first_index - 1 AND last_index
          WINDOW ascending AS (ORDER BY chain_index)) AS lined_up
    WHERE chain_index >= first_index;
  IF seen.rows <> last_index - first_index + 1 OR NOT seen.linked THEN
    RAISE EXCEPTION 'the new rows of % do not continue the chain', '{{table}}' USING ERRCODE = 'DB004',
      HINT = 'ON CONFLICT DO NOTHING may not drop a row between others; to make a retry harmless use idempotency_key.';
  END IF;
  IF NOT seen.timely AND NOT daybook.is_restoring() THEN
    RAISE EXCEPTION 'the new rows of % carry a foreign recording time', '{{table}}' USING ERRCODE = 'DB004';
  END IF;
  IF seen.foreign_xmin THEN
    INSERT INTO public.ledger_subxacts (log, first_index, last_index, xid, subxid)
      SELECT '{{log}}', min(chain_index), max(chain_index), pg_current_xact_id(), xmin
      FROM (SELECT chain_index, xmin,
                   chain_index - row_number() OVER (PARTITION BY xmin::text ORDER BY chain_index) AS island
            FROM public.{{table}}
            WHERE chain_index BETWEEN first_index AND last_index AND xmin <> pg_current_xact_id()::xid) AS numbered
      GROUP BY xmin::text, xmin, island ON CONFLICT DO NOTHING;
  END IF;
  -- A wake-up for feeds, without content, sent at commit; repeated ones of a transaction are sent once.
  PERFORM pg_notify('daybook_ledger', '');
  RETURN NULL;
END $$;

CREATE TRIGGER begin_append_trigger BEFORE INSERT ON public.{{table}}
  FOR EACH STATEMENT EXECUTE FUNCTION daybook.begin_{{table}}_append();
CREATE TRIGGER end_append_trigger AFTER INSERT ON public.{{table}}
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION daybook.end_{{table}}_append();
ALTER TABLE public.{{table}} ENABLE ALWAYS TRIGGER begin_append_trigger;
ALTER TABLE public.{{table}} ENABLE ALWAYS TRIGGER end_append_trigger;
