-- The tree over both logs, its signed heads, the days' roots and their anchors, and what the integrity monitor records.
-- Every table here can be derived from the logs and checked against them, or is evidence that nobody may change.

-- Full tiles of RFC 6962 trees, 256 hashes each (C2SP tlog-tiles, height 8). The partial tile at the right edge is never
-- stored: its leaves are read from the log, its upper hashes are the roots of full tiles one level below.
CREATE TABLE public.ledger_tiles (
  log text NOT NULL CONSTRAINT ledger_tiles_log_known CHECK (log IN ('signals', 'audit')),
  level smallint NOT NULL CONSTRAINT ledger_tiles_level_range CHECK (level BETWEEN 0 AND 6),
  tile bigint NOT NULL CONSTRAINT ledger_tiles_tile_range CHECK (tile >= 0),
  -- The hash of the whole tile: the tile's place in the level above.
  root bytea NOT NULL CONSTRAINT ledger_tiles_root_size CHECK (octet_length(root) = 32),
  hashes bytea NOT NULL CONSTRAINT ledger_tiles_hashes_size CHECK (octet_length(hashes) = 8192),
  -- With the root in the index, the hashes of a level are read without touching the table.
  PRIMARY KEY (log, level, tile) INCLUDE (root)
);
-- Hashes do not compress, and a part of a value is only cheap to read when it is stored plain.
ALTER TABLE public.ledger_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Ed25519 keys that sign checkpoints. The private key is sealed with the master key, which is not in the database.
CREATE TABLE public.signing_keys (
  origin text NOT NULL CONSTRAINT signing_keys_origin_length CHECK (char_length(origin) BETWEEN 1 AND 255),
  key_id text NOT NULL CONSTRAINT signing_keys_key_id_form CHECK (key_id ~ '^[0-9a-f]+$' AND octet_length(key_id) = 8),
  log text NOT NULL CONSTRAINT signing_keys_log_known CHECK (log IN ('signals', 'audit')),
  public_key bytea NOT NULL CONSTRAINT signing_keys_public_key_size CHECK (octet_length(public_key) = 32),
  sealed_private_key bytea NOT NULL,
  master_key_id text NOT NULL,
  valid_from timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Signatures made later than this are not the log's; earlier ones stay good. NULL while the key signs.
  valid_until timestamptz,
  PRIMARY KEY (origin, key_id)
);
-- Nodes that start together make one key, not two.
CREATE UNIQUE INDEX signing_keys_current ON public.signing_keys (log) WHERE valid_until IS NULL;

-- Signed tree heads. The key is what makes two different checkpoints of one size impossible.
CREATE TABLE public.checkpoints (
  log text NOT NULL CONSTRAINT checkpoints_log_known CHECK (log IN ('signals', 'audit')),
  tree_size bigint NOT NULL CONSTRAINT checkpoints_tree_size_range CHECK (tree_size >= 0),
  root_hash bytea NOT NULL CONSTRAINT checkpoints_root_hash_size CHECK (octet_length(root_hash) = 32),
  -- The signed note (C2SP signed-note, tlog-checkpoint), verbatim.
  note text NOT NULL CONSTRAINT checkpoints_note_size CHECK (octet_length(note) <= 65535),
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Order of signing within a log, for subscribers: a day's root may be smaller than what was signed before.
  number bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (log, tree_size),
  UNIQUE (log, number)
);

-- The tree head at exactly the number of entries recorded before midnight UTC: one row for each log and day.
CREATE TABLE public.merkle_roots (
  log text NOT NULL,
  date date NOT NULL,
  tree_size bigint NOT NULL,
  entries_of_day bigint NOT NULL CONSTRAINT merkle_roots_entries_range CHECK (entries_of_day >= 0),
  -- From the root of the day before: 32-byte hashes one after another.
  consistency_proof bytea NOT NULL CONSTRAINT merkle_roots_proof_size CHECK (octet_length(consistency_proof) % 32 = 0),
  sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  sealed_by text NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  PRIMARY KEY (log, date),
  FOREIGN KEY (log, tree_size) REFERENCES public.checkpoints (log, tree_size)
);

-- Where a day's root is to be kept outside this database, and what became of it. A row changes until it is ANCHORED.
CREATE TABLE public.anchors (
  log text NOT NULL,
  date date NOT NULL,
  kind text NOT NULL CONSTRAINT anchors_kind_known CHECK (kind IN ('object-store', 'timestamp', 'witness')),
  -- Which store, authority or witness; never with a secret.
  target text NOT NULL CONSTRAINT anchors_target_length CHECK (char_length(target) BETWEEN 1 AND 1000),
  mode text NOT NULL CONSTRAINT anchors_mode_known CHECK (mode IN ('best-effort', 'required')),
  status text NOT NULL DEFAULT 'PENDING' CONSTRAINT anchors_status_known CHECK (status IN ('PENDING', 'ANCHORED')),
  -- The object's version id, the timestamp's serial number, or the witness' key name.
  reference text,
  -- What proves it: the RFC 3161 response, the cosignature line, or the stored note.
  evidence bytea,
  anchored_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_error text,
  -- When the evidence was also laid beside the root in the object store; NULL until then, and where it has no place there.
  kept_at timestamptz,
  PRIMARY KEY (log, date, kind, target),
  FOREIGN KEY (log, date) REFERENCES public.merkle_roots (log, date),
  CONSTRAINT anchors_anchored_complete
    CHECK (status = 'PENDING' OR (reference IS NOT NULL AND evidence IS NOT NULL AND anchored_at IS NOT NULL))
);
CREATE INDEX anchors_waiting ON public.anchors (next_attempt_at) WHERE status = 'PENDING';
CREATE INDEX anchors_to_keep ON public.anchors (anchored_at)
  WHERE status = 'ANCHORED' AND kept_at IS NULL AND kind <> 'object-store';

-- What the catalogue said about triggers, functions, tables and roles when it was declared right.
CREATE TABLE public.integrity_baselines (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  taken_by text NOT NULL,
  reason text NOT NULL CONSTRAINT integrity_baselines_reason_length CHECK (char_length(reason) BETWEEN 1 AND 1000),
  facts json NOT NULL,
  -- SHA-256 of the text of `facts`; the entry IntegrityBaselineSet of the audit log names it.
  facts_hash bytea NOT NULL
);

-- One row for each run of the integrity monitor.
CREATE TABLE public.integrity_checksum_log (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  id uuid PRIMARY KEY,
  kind text NOT NULL CONSTRAINT integrity_checksum_log_kind_known CHECK (kind IN ('SAMPLE', 'RECENT', 'FULL')),
  requested_by text NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL,
  duration_ms numeric NOT NULL,
  -- Per log: first and last index looked at and how many entries between them were checked.
  ranges json NOT NULL,
  entries_checked bigint NOT NULL,
  -- FAILED: something contradicts; ERROR: the check could not run to its end.
  result text NOT NULL CONSTRAINT integrity_checksum_log_result_known CHECK (result IN ('OK', 'FAILED', 'ERROR')),
  failed_verifications bigint NOT NULL,
  -- The first breaks of each log and of the catalogue: [{log, code, index, message}].
  breaks json NOT NULL,
  error text
);

-- Something that a person has to look at: a failed check, a refused signature, or what an operator reports.
CREATE TABLE public.incidents (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  id uuid PRIMARY KEY,
  kind text NOT NULL CONSTRAINT incidents_kind_known CHECK (kind IN ('INTEGRITY', 'SIGNER', 'ANCHOR', 'OPERATOR')),
  -- The same fault seen again while its incident is open is counted there.
  fingerprint text NOT NULL CONSTRAINT incidents_fingerprint_length CHECK (char_length(fingerprint) BETWEEN 1 AND 300),
  title text NOT NULL CONSTRAINT incidents_title_length CHECK (char_length(title) BETWEEN 1 AND 500),
  details json NOT NULL DEFAULT '{}',
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  opened_by text NOT NULL,
  occurrences bigint NOT NULL DEFAULT 1,
  last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  status text NOT NULL DEFAULT 'OPEN'
    CONSTRAINT incidents_status_known CHECK (status IN ('OPEN', 'ACKNOWLEDGED', 'CLOSED')),
  acknowledged_at timestamptz,
  acknowledged_by text,
  acknowledgement_note text,
  closed_at timestamptz,
  closed_by text,
  closing_note text,
  CONSTRAINT incidents_acknowledged_complete CHECK (status = 'OPEN'
    OR (acknowledged_at IS NOT NULL AND acknowledged_by IS NOT NULL AND acknowledgement_note IS NOT NULL)),
  CONSTRAINT incidents_closed_complete CHECK ((status = 'CLOSED')
    = (closed_at IS NOT NULL AND closed_by IS NOT NULL AND closing_note IS NOT NULL))
);
CREATE UNIQUE INDEX incidents_open_fingerprint ON public.incidents (fingerprint) WHERE status <> 'CLOSED';
