-- What is kept how long. Only daybook.set_retention writes here, each time with an entry.
CREATE TABLE public.retention_policies (
  log text PRIMARY KEY CONSTRAINT retention_policies_log_known CHECK (log = 'audit'),
  -- Null: for ever.
  online interval CONSTRAINT retention_policies_online_positive CHECK (online > interval '0'),
  -- From recording on. Archives with entries about signals are kept at least as long as signals.
  archived interval NOT NULL CONSTRAINT retention_policies_archived_positive CHECK (archived > interval '0'),
  set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  set_by text NOT NULL
);
INSERT INTO public.retention_policies (log, online, archived, set_by) VALUES ('audit', '90 days', '7 years', session_user);

-- Archives: objects outside the database that hold the entries of a range. All but the object's own facts is filled in by the
-- trigger, from the log.
CREATE TABLE public.log_archives (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  log text NOT NULL DEFAULT 'audit' CONSTRAINT log_archives_log_known CHECK (log = 'audit'),
  first_index bigint NOT NULL UNIQUE,
  last_index bigint NOT NULL UNIQUE,
  first_recorded_at timestamptz NOT NULL,
  last_recorded_at timestamptz NOT NULL,
  previous_hash bytea NOT NULL,
  chain_hash bytea NOT NULL,
  holds_signals boolean NOT NULL,
  -- Nothing but an archive is ever read or given up by this name.
  object_key text NOT NULL CONSTRAINT log_archives_object_key_form
    CHECK (object_key ~ '^archives/audit/[0-9a-f-]+\.jsonl\.gz\Z' AND octet_length(object_key) <= 200),
  bytes bigint NOT NULL CONSTRAINT log_archives_bytes_positive CHECK (bytes > 0),
  -- SHA-256 of the object.
  object_hash bytea NOT NULL CONSTRAINT log_archives_object_hash_size CHECK (octet_length(object_hash) = 32),
  -- Of the object's version, where the store keeps versions.
  version_id text,
  -- What the columns above say, signed by the log's key: whoever has no such key puts no archive on record.
  note text NOT NULL CONSTRAINT log_archives_note_size CHECK (octet_length(note) <= 4096),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by text NOT NULL CONSTRAINT log_archives_created_by_length CHECK (char_length(created_by) BETWEEN 1 AND 200),
  removed_at timestamptz,
  removed_by text,
  CONSTRAINT log_archives_order CHECK (first_index <= last_index)
);

-- What must not be removed, whoever wants it gone and however old it is: entries that have all the properties named here.
CREATE TABLE public.legal_holds (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  reason text NOT NULL CONSTRAINT legal_holds_reason_length CHECK (char_length(reason) BETWEEN 10 AND 1000),
  signal_id text CONSTRAINT legal_holds_signal_id_length CHECK (char_length(signal_id) BETWEEN 1 AND 128),
  actor text CONSTRAINT legal_holds_actor_length CHECK (char_length(actor) BETWEEN 1 AND 200),
  resource_prefix text CONSTRAINT legal_holds_resource_length CHECK (char_length(resource_prefix) BETWEEN 1 AND 1000),
  recorded_from timestamptz,
  recorded_to timestamptz,
  placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  placed_by text NOT NULL CONSTRAINT legal_holds_placed_by_length CHECK (char_length(placed_by) BETWEEN 1 AND 200),
  -- The first of the two who release it, and the second.
  release_requested_at timestamptz,
  release_requested_by text,
  release_reason text CONSTRAINT legal_holds_release_reason_length CHECK (char_length(release_reason) BETWEEN 10 AND 1000),
  released_at timestamptz,
  released_by text,
  CONSTRAINT legal_holds_times CHECK (recorded_from < recorded_to)
);

-- Copies of archived entries, brought back to be read. Not evidence: each is held to the tree, and can be brought back again.
CREATE TABLE public.restored_entries (LIKE public.audit_entries INCLUDING DEFAULTS);
ALTER TABLE public.restored_entries DROP COLUMN xid;
ALTER TABLE public.restored_entries ADD PRIMARY KEY (chain_index);
ALTER TABLE public.restored_entries ADD COLUMN archive bigint NOT NULL REFERENCES public.log_archives (number);
ALTER TABLE public.restored_entries ADD COLUMN restored_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX restored_entries_id_index ON public.restored_entries (id);
CREATE INDEX restored_entries_recorded_at_index ON public.restored_entries (recorded_at);
CREATE INDEX restored_entries_actor_index ON public.restored_entries (actor, chain_index);
CREATE INDEX restored_entries_event_index ON public.restored_entries (event, chain_index);
CREATE INDEX restored_entries_signal_id_index ON public.restored_entries (signal_id, chain_index)
  WHERE signal_id IS NOT NULL;
CREATE INDEX restored_entries_archive_index ON public.restored_entries (archive);
