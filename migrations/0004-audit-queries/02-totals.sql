-- How many entries there are of each kind in each whole block of 16,384, so that totals over a long log add up some hundred
-- rows a block instead of looking at each entry. Derived: nothing is proven by it, verification does not read it, and an empty
-- table fills again. The owner's function alone writes here, and what it counts never changes.
CREATE TABLE public.audit_totals (
  -- chain_index / 16384.
  block bigint NOT NULL,
  -- Of recording, UTC.
  day date NOT NULL,
  category text NOT NULL,
  event text NOT NULL,
  action text,
  actor text,
  role text,
  outcome text NOT NULL,
  entries bigint NOT NULL,
  -- Of their bodies.
  bytes bigint NOT NULL
);
CREATE INDEX audit_totals_block_index ON public.audit_totals (block);

-- Counts up to blocks_max whole blocks that are not counted yet, in order, and returns how many it counted: 0 when all are.
-- Counts of blocks that were removed from the log, wholly or in part, go.
CREATE FUNCTION daybook.roll_up_audit_totals(blocks_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  block_entries constant bigint := 16384;
  first_whole bigint;
  after_last bigint;
  next_block bigint;
BEGIN
  IF blocks_max IS NULL OR blocks_max < 0 THEN
    RAISE EXCEPTION 'blocks_max must not be negative' USING ERRCODE = '22023';
  END IF;
  SELECT (min(chain_index) + block_entries - 1) / block_entries, (max(chain_index) + 1) / block_entries
    INTO first_whole, after_last FROM public.audit_entries;
  IF NOT EXISTS (SELECT FROM public.audit_totals WHERE block < first_whole)
     AND coalesce((SELECT max(block) FROM public.audit_totals) + 1, first_whole) >= after_last THEN
    RETURN 0;
  END IF;
  -- Two that run at once would count a block twice. The lock is the owner's: who may only read cannot hold it.
  LOCK TABLE public.audit_totals IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM public.audit_totals WHERE block < first_whole;
  next_block := greatest((SELECT max(block) FROM public.audit_totals) + 1, first_whole);
  after_last := least(after_last, next_block + blocks_max);
  IF after_last <= next_block THEN
    RETURN 0;
  END IF;
  INSERT INTO public.audit_totals (block, day, category, event, action, actor, role, outcome, entries, bytes)
    SELECT chain_index / block_entries, (recorded_at AT TIME ZONE 'UTC')::date, category, event, action, actor, role,
      outcome, count(*), sum(octet_length(body))
    FROM public.audit_entries
    WHERE chain_index >= next_block * block_entries AND chain_index < after_last * block_entries
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
  RETURN after_last - next_block;
END $$;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_application') AND current_user = 'daybook_owner' THEN
    REVOKE ALL ON FUNCTION daybook.roll_up_audit_totals(integer) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION daybook.roll_up_audit_totals(integer) TO daybook_application;
    GRANT SELECT ON public.audit_totals TO daybook_application, daybook_auditor;
  END IF;
END $$;
