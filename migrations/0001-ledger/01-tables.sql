-- The two logs and what stands beside them. Run as the owner (no login), so that neither the application nor the
-- auditor owns what they must not change. docs/format.md lists which columns are part of an entry's body.
CREATE SCHEMA IF NOT EXISTS daybook;

-- Lengths stand beside the patterns, not in them: a counted repetition costs up to 18 µs a row.
CREATE TABLE public.signals (
  chain_index bigint PRIMARY KEY,
  signal_id text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text
    CONSTRAINT signals_signal_id_form CHECK (signal_id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]*$' AND octet_length(signal_id) <= 128),
  symbol text NOT NULL CONSTRAINT signals_symbol_form
    CHECK (symbol ~ '^[A-Za-z0-9^][A-Za-z0-9._:/=^-]*$' AND octet_length(symbol) <= 64),
  action text NOT NULL CONSTRAINT signals_action_known CHECK (action IN ('BUY', 'SELL', 'HOLD')),
  -- NaN sorts above every number, so the upper bound refuses NaN and Infinity; 18 digits are kept on either side.
  entry_price numeric NOT NULL
    CONSTRAINT signals_entry_price_range CHECK (entry_price > 0 AND entry_price < 1e18 AND min_scale(entry_price) <= 18),
  target_price numeric
    CONSTRAINT signals_target_price_range CHECK (target_price > 0 AND target_price < 1e18 AND min_scale(target_price) <= 18),
  stop_loss numeric
    CONSTRAINT signals_stop_loss_range CHECK (stop_loss > 0 AND stop_loss < 1e18 AND min_scale(stop_loss) <= 18),
  confidence numeric NOT NULL
    CONSTRAINT signals_confidence_range CHECK (confidence >= 0 AND confidence <= 1 AND min_scale(confidence) <= 18),
  strategy text CONSTRAINT signals_strategy_length CHECK (char_length(strategy) BETWEEN 1 AND 200),
  rationale text NOT NULL
    CONSTRAINT signals_rationale_length CHECK (char_length(btrim(rationale, E' \t\r\n')) >= 20)
    -- Trimming the first character and white space from both ends leaves nothing when one character is all there is.
    CONSTRAINT signals_rationale_not_repeated
      CHECK (btrim(rationale, left(btrim(rationale, E' \t\r\n'), 1) || E' \t\r\n') <> ''),
  rationale_origin text NOT NULL DEFAULT 'CALLER'
    CONSTRAINT signals_rationale_origin_known CHECK (rationale_origin IN ('MODEL', 'TEMPLATE', 'CALLER')),
  supersedes text,
  producer text NOT NULL CONSTRAINT signals_producer_length CHECK (char_length(producer) BETWEEN 1 AND 200),
  ip_address text,
  session_id text,
  request_id text,
  idempotency_key text CONSTRAINT signals_idempotency_key_length CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
  input_hash bytea,
  generated_at timestamptz NOT NULL,
  server_timestamp timestamptz NOT NULL,
  generation_latency_ms numeric NOT NULL,
  retention_expires_at timestamptz NOT NULL,
  body text NOT NULL CONSTRAINT signals_body_size CHECK (octet_length(body) <= 65535),
  verification_hash bytea NOT NULL,
  previous_hash bytea NOT NULL,
  chain_hash bytea NOT NULL,
  xid xid8 NOT NULL
);
CREATE INDEX signals_symbol_index ON public.signals (symbol, chain_index);
CREATE INDEX signals_action_index ON public.signals (action, chain_index);
CREATE INDEX signals_strategy_index ON public.signals (strategy, chain_index);
CREATE INDEX signals_producer_index ON public.signals (producer, chain_index);
CREATE INDEX signals_server_timestamp_index ON public.signals (server_timestamp);
CREATE UNIQUE INDEX signals_supersedes_key ON public.signals (supersedes) WHERE supersedes IS NOT NULL;
CREATE UNIQUE INDEX signals_idempotency_key ON public.signals (producer, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

CREATE TABLE public.audit_entries (
  chain_index bigint PRIMARY KEY,
  id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  category text NOT NULL CONSTRAINT audit_entries_category_known CHECK (category IN (
    'SIGNAL', 'ORDER', 'FILL', 'CONFIG', 'AUTH', 'ALERT', 'API', 'SECRET', 'INTEGRITY', 'BACKUP', 'ADMIN')),
  event text NOT NULL CONSTRAINT audit_entries_event_form
    CHECK (event ~ '^[A-Z][A-Za-z0-9]+$' AND octet_length(event) <= 64),
  action text CONSTRAINT audit_entries_action_known
    CHECK (action IN ('CREATE', 'READ', 'UPDATE', 'DELETE', 'LOGIN', 'LOGOUT', 'EXECUTE')),
  actor text CONSTRAINT audit_entries_actor_length CHECK (char_length(actor) <= 200),
  role text CONSTRAINT audit_entries_role_form CHECK (role ~ '^[A-Za-z_]+$' AND octet_length(role) <= 63),
  resource text CONSTRAINT audit_entries_resource_length CHECK (char_length(resource) <= 1000),
  signal_id text CONSTRAINT audit_entries_signal_id_length CHECK (char_length(signal_id) <= 128),
  outcome text NOT NULL DEFAULT 'OK' CONSTRAINT audit_entries_outcome_form
    CHECK (outcome ~ '^[A-Z][A-Z0-9_]+$' AND octet_length(outcome) <= 64),
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL,
  ip_address text CONSTRAINT audit_entries_ip_address_length CHECK (char_length(ip_address) <= 100),
  user_agent text CONSTRAINT audit_entries_user_agent_length CHECK (char_length(user_agent) <= 1000),
  session_id text CONSTRAINT audit_entries_session_id_length CHECK (char_length(session_id) <= 200),
  request_id text CONSTRAINT audit_entries_request_id_length CHECK (char_length(request_id) <= 200),
  idempotency_key text
    CONSTRAINT audit_entries_idempotency_key_length CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
  input_hash bytea,
  -- json, not jsonb: the canonical text is kept as it was hashed.
  details json NOT NULL DEFAULT '{}'
    CONSTRAINT audit_entries_details_object CHECK (json_typeof(details) = 'object'),
  old_data json CONSTRAINT audit_entries_old_data_object CHECK (json_typeof(old_data) = 'object'),
  new_data json CONSTRAINT audit_entries_new_data_object CHECK (json_typeof(new_data) = 'object'),
  body text NOT NULL CONSTRAINT audit_entries_body_size CHECK (octet_length(body) <= 65535),
  verification_hash bytea NOT NULL,
  previous_hash bytea NOT NULL,
  chain_hash bytea NOT NULL,
  xid xid8 NOT NULL
);
CREATE INDEX audit_entries_category_index ON public.audit_entries (category, chain_index);
CREATE INDEX audit_entries_event_index ON public.audit_entries (event, chain_index);
CREATE INDEX audit_entries_actor_index ON public.audit_entries (actor, chain_index);
-- With what totals are asked by, so that those of each resource are counted in the index alone.
CREATE INDEX audit_entries_resource_index ON public.audit_entries (resource, chain_index)
  INCLUDE (category, event, action, actor, role, outcome);
CREATE INDEX audit_entries_recorded_at_index ON public.audit_entries (recorded_at);
CREATE INDEX audit_entries_signal_id_index ON public.audit_entries (signal_id, chain_index) WHERE signal_id IS NOT NULL;
CREATE INDEX audit_entries_request_id_index ON public.audit_entries (request_id, chain_index)
  WHERE request_id IS NOT NULL;
CREATE INDEX audit_entries_session_id_index ON public.audit_entries (session_id, chain_index)
  WHERE session_id IS NOT NULL;
CREATE UNIQUE INDEX audit_entries_idempotency_key ON public.audit_entries (actor, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- Transaction ids of rows inserted under a savepoint: there xmin is the subtransaction's and differs from the row's xid.
CREATE TABLE public.ledger_subxacts (
  log text NOT NULL CHECK (log IN ('signals', 'audit')),
  first_index bigint NOT NULL,
  last_index bigint NOT NULL,
  xid xid8 NOT NULL,
  subxid xid NOT NULL,
  PRIMARY KEY (log, first_index)
);

-- One row while a declared restore runs, valid only in the transaction that wrote it.
CREATE TABLE public.ledger_restores (
  xid xid8 PRIMARY KEY,
  declared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  declared_by text NOT NULL,
  reason text NOT NULL CHECK (char_length(btrim(reason)) >= 10)
);

-- One row for each removal of archived entries: its receipt for ever, and the permit for the rows below first_kept_index in the
-- transaction that wrote it. Only the owner's procedure writes here (migrations/0008-retention).
CREATE TABLE public.ledger_purges (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  log text NOT NULL CONSTRAINT ledger_purges_log_known CHECK (log = 'audit'),
  first_index bigint NOT NULL,
  first_kept_index bigint NOT NULL,
  -- chain_hash of the last removed entry: what the first kept one must name as its predecessor's.
  previous_hash bytea NOT NULL CONSTRAINT ledger_purges_previous_hash_size CHECK (octet_length(previous_hash) = 32),
  last_recorded_at timestamptz NOT NULL,
  -- Of the newest checkpoint at that time, which covers what was removed.
  tree_size bigint NOT NULL,
  root_hash bytea NOT NULL CONSTRAINT ledger_purges_root_hash_size CHECK (octet_length(root_hash) = 32),
  purged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  purged_by text NOT NULL CONSTRAINT ledger_purges_purged_by_length CHECK (char_length(purged_by) BETWEEN 1 AND 200),
  xid xid8 NOT NULL,
  CONSTRAINT ledger_purges_order CHECK (first_index >= 0 AND first_index < first_kept_index AND first_kept_index <= tree_size)
);

-- Refused modifications, written through a connection of their own so that the refusal's rollback keeps them.
-- No ledger trigger stands here: a caller who holds the ledger lock cannot deadlock with it.
CREATE SEQUENCE public.modification_attempt_number CACHE 1;
CREATE TABLE public.modification_attempts (
  attempt_number bigint PRIMARY KEY,
  attempted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  operation text NOT NULL CHECK (operation IN ('UPDATE', 'DELETE', 'TRUNCATE')),
  table_name text NOT NULL,
  session_user_name text NOT NULL,
  current_user_name text NOT NULL,
  application_name text,
  client_address text,
  backend_pid integer,
  statement text,
  signal_id text,
  old_data json,
  new_data json,
  -- Index of the ModificationRefused entry, set in the transaction that appends it.
  audit_index bigint
);
CREATE INDEX modification_attempts_waiting ON public.modification_attempts (attempt_number) WHERE audit_index IS NULL;

-- What reconciliation knows: every number up to reconciled_number has its entry or its explanation.
CREATE TABLE public.modification_watch (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  reconciled_number bigint NOT NULL DEFAULT 0,
  -- The highest number drawn when reconciliation last looked.
  seen_number bigint NOT NULL DEFAULT 0,
  gap_first_seen_at timestamptz,
  -- The highest number drawn at that time: those drawn later have not waited as long.
  gap_last_number bigint,
  -- When the server last came up, as daybook.server_came_up() gave it.
  came_up_at timestamptz NOT NULL DEFAULT pg_postmaster_start_time()
);
INSERT INTO public.modification_watch DEFAULT VALUES;

CREATE TABLE public.api_keys (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
  role text NOT NULL CHECK (role IN ('PRODUCER', 'ANALYST', 'MONITOR', 'AUDITOR', 'ADMIN')),
  prefix text NOT NULL,
  -- SHA-256 of the whole key; the key has 256 bits of randomness, so a slow hash would add nothing.
  key_hash bytea NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by text,
  expires_at timestamptz,
  revoked_at timestamptz,
  revoked_by text,
  last_used_at timestamptz
);
CREATE UNIQUE INDEX api_keys_name_key ON public.api_keys (name) WHERE revoked_at IS NULL;
