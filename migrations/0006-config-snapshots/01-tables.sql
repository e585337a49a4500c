-- Snapshots of the effective configuration. What did not change is not stored again: a snapshot names the list of its files
-- by the list's hash, and a file names its text by the text's hash.

-- Texts of files and settings, redacted before they came here.
CREATE TABLE public.config_contents (
  content_hash bytea PRIMARY KEY,
  content text NOT NULL,
  CONSTRAINT config_contents_hash_right CHECK (content_hash = sha256(convert_to(content, 'UTF8')))
);

-- The files of one list. `files_hash` is SHA-256 over the canonical JSON of the list, docs/config-snapshots.md has its form.
CREATE TABLE public.config_snapshot_files (
  files_hash bytea NOT NULL CONSTRAINT config_snapshot_files_list_size CHECK (octet_length(files_hash) = 32),
  path text NOT NULL CONSTRAINT config_snapshot_files_path_length CHECK (octet_length(path) BETWEEN 1 AND 2000),
  state text NOT NULL CONSTRAINT config_snapshot_files_state_known
    CHECK (state IN ('TEXT', 'BINARY', 'LARGE', 'SECRET', 'MISSING', 'UNREADABLE', 'REFUSED')),
  -- SHA-256 of the bytes as they were; NULL where a secret is in them or they could not be read.
  hash bytea CONSTRAINT config_snapshot_files_hash_size CHECK (octet_length(hash) = 32),
  -- In place of the hash where a secret is in the file: keyed, so that nothing can be guessed from it.
  mark text,
  size bigint CONSTRAINT config_snapshot_files_size_range CHECK (size >= 0),
  content_hash bytea REFERENCES public.config_contents (content_hash),
  redactions integer NOT NULL,
  note text,
  PRIMARY KEY (files_hash, path),
  CONSTRAINT config_snapshot_files_text_stored CHECK ((state = 'TEXT') = (content_hash IS NOT NULL))
);

CREATE TABLE public.config_snapshots (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  id uuid PRIMARY KEY,
  taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  taken_by text NOT NULL,
  -- Host and data folder: the configuration of one node is compared with what it was on the same node.
  node text NOT NULL CONSTRAINT config_snapshots_node_length CHECK (char_length(node) BETWEEN 1 AND 2000),
  occasion text NOT NULL CONSTRAINT config_snapshots_occasion_known CHECK (occasion IN ('START', 'DEMAND', 'PACK')),
  reason text NOT NULL CONSTRAINT config_snapshots_reason_length CHECK (char_length(reason) BETWEEN 1 AND 1000),
  files_hash bytea NOT NULL CONSTRAINT config_snapshots_list_size CHECK (octet_length(files_hash) = 32),
  -- The snapshot that this one was compared with; NULL for the first of all.
  previous_id uuid REFERENCES public.config_snapshots (id),
  changes integer NOT NULL CONSTRAINT config_snapshots_changes_range CHECK (changes >= 0),
  -- Two processes of a node that take one at a time: the second has to compare with the first.
  CONSTRAINT config_snapshots_one_successor UNIQUE NULLS NOT DISTINCT (node, previous_id)
);
CREATE INDEX config_snapshots_taken_at_index ON public.config_snapshots (taken_at, number);
CREATE INDEX config_snapshots_node_index ON public.config_snapshots (node, number);
CREATE INDEX config_snapshots_occasion_index ON public.config_snapshots (occasion, number);
