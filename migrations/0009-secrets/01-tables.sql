-- Secrets that rotate. Values are sealed with data keys, data keys are wrapped by an encryption key, encryption keys by the root key,
-- which is not in the database: master.key, the environment, or a key management service.

CREATE TABLE public.encryption_keys (
  generation integer PRIMARY KEY CONSTRAINT encryption_keys_generation_range CHECK (generation > 0),
  -- NULL once it was destroyed: what it wrapped is wrapped by its successor.
  wrapped bytea,
  -- Names the root key without telling anything about it.
  root_key_id text NOT NULL CONSTRAINT encryption_keys_root_length CHECK (char_length(root_key_id) BETWEEN 1 AND 300),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  destroyed_at timestamptz,
  CONSTRAINT encryption_keys_end CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

CREATE TABLE public.data_keys (
  id uuid PRIMARY KEY,
  generation integer NOT NULL REFERENCES public.encryption_keys (generation),
  wrapped bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX data_keys_generation_index ON public.data_keys (generation, id);

CREATE TABLE public.secrets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  type text NOT NULL CONSTRAINT secrets_type_known
    CHECK (type IN ('DATABASE', 'ENCRYPTION_KEY', 'SIGNING_KEY', 'API_KEY', 'OAUTH', 'WEBHOOK')),
  name text NOT NULL CONSTRAINT secrets_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
  -- What a rotator needs and everybody may see: addresses, names of clients.
  settings json NOT NULL DEFAULT '{}' CONSTRAINT secrets_settings_object CHECK (json_typeof(settings) = 'object'),
  zero_downtime boolean NOT NULL,
  -- What lets the rotator in at the target, such as a registration access token. It is no value of the secret.
  sealed_credential bytea,
  credential_key uuid REFERENCES public.data_keys (id),
  registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  registered_by text NOT NULL CONSTRAINT secrets_registered_by_length CHECK (char_length(registered_by) BETWEEN 1 AND 200),
  CONSTRAINT secrets_name_key UNIQUE (type, name),
  CONSTRAINT secrets_credential_sealed CHECK ((sealed_credential IS NULL) = (credential_key IS NULL))
);

CREATE TABLE public.secret_versions (
  secret uuid NOT NULL REFERENCES public.secrets (id),
  generation integer NOT NULL CONSTRAINT secret_versions_generation_range CHECK (generation > 0),
  label text CONSTRAINT secret_versions_label_known CHECK (label IN ('PENDING', 'CURRENT', 'PREVIOUS')),
  -- Where a target has places for two values: which of them.
  slot text CONSTRAINT secret_versions_slot_length CHECK (char_length(slot) BETWEEN 1 AND 63),
  -- NULL where the value is kept elsewhere, or was destroyed after it was revoked.
  sealed_value bytea,
  data_key uuid REFERENCES public.data_keys (id),
  -- What everybody may see of this version: a prefix, the id of a key.
  facts json NOT NULL DEFAULT '{}' CONSTRAINT secret_versions_facts_object CHECK (json_typeof(facts) = 'object'),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  current_from timestamptz,
  revoked_at timestamptz,
  -- When its target was last asked about the current value, and since when that one has not worked there.
  drift_checked_at timestamptz,
  drift_detected_at timestamptz,
  PRIMARY KEY (secret, generation),
  CONSTRAINT secret_versions_sealed CHECK ((sealed_value IS NULL) = (data_key IS NULL))
);
CREATE UNIQUE INDEX secret_versions_label_key ON public.secret_versions (secret, label) WHERE label IS NOT NULL;

-- One row for each rotation; its steps beside it are for ever.
CREATE TABLE public.rotations (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  secret uuid NOT NULL REFERENCES public.secrets (id),
  generation integer NOT NULL,
  status text NOT NULL DEFAULT 'PLANNED' CONSTRAINT rotations_status_known CHECK (status IN ('PLANNED', 'STAGED', 'APPLYING',
    'UNKNOWN', 'APPLIED', 'VERIFIED', 'ROTATED', 'REVOKING', 'REVOKED', 'FAILED', 'HELD', 'ROLLED_BACK')),
  -- NULL: by the schedule.
  requested_by text,
  reason text CONSTRAINT rotations_reason_length CHECK (char_length(reason) BETWEEN 1 AND 1000),
  grace interval NOT NULL,
  -- Whether whoever asked gave the value or the credential, which the node they asked has in its memory alone until it is staged.
  value_given boolean NOT NULL DEFAULT false,
  planned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  rotated_at timestamptz,
  grace_ends_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Who works on it and until when; each taking counts the fence up, and whoever holds an older one changes nothing.
  holder text,
  leased_until timestamptz,
  fence bigint NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT rotations_generation_key UNIQUE (secret, generation)
);
-- One at a time: what has failed, was rolled back or came to its end makes way for the next.
CREATE UNIQUE INDEX rotations_open_key ON public.rotations (secret)
  WHERE status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK');

CREATE TABLE public.rotation_steps (
  rotation uuid NOT NULL REFERENCES public.rotations (id),
  step integer NOT NULL,
  status text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  note text CONSTRAINT rotation_steps_note_length CHECK (char_length(note) <= 2000),
  PRIMARY KEY (rotation, step)
);

-- Per type; a row of a secret goes before that of its type.
CREATE TABLE public.rotation_policies (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  type text NOT NULL CONSTRAINT rotation_policies_type_known
    CHECK (type IN ('DATABASE', 'ENCRYPTION_KEY', 'SIGNING_KEY', 'API_KEY', 'OAUTH', 'WEBHOOK')),
  secret uuid REFERENCES public.secrets (id),
  interval_days integer NOT NULL CONSTRAINT rotation_policies_interval_range CHECK (interval_days BETWEEN 1 AND 3650),
  grace interval NOT NULL CONSTRAINT rotation_policies_grace_range CHECK (grace >= interval '0' AND grace <= interval '3650 days'),
  auto_rotate boolean NOT NULL,
  -- {"timeZone", "days", "from", "to", "blackouts"}; empty: at any time.
  change_window json NOT NULL DEFAULT '{}' CONSTRAINT rotation_policies_window_object
    CHECK (json_typeof(change_window) = 'object'),
  set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  set_by text NOT NULL,
  CONSTRAINT rotation_policies_key UNIQUE NULLS NOT DISTINCT (type, secret)
);
INSERT INTO public.rotation_policies (type, interval_days, grace, auto_rotate, set_by) VALUES
  ('DATABASE', 90, '1 day', false, session_user),
  ('ENCRYPTION_KEY', 180, '1 day', false, session_user),
  ('SIGNING_KEY', 365, '30 days', false, session_user),
  ('API_KEY', 60, '7 days', false, session_user),
  ('OAUTH', 90, '1 day', false, session_user),
  ('WEBHOOK', 90, '1 day', false, session_user);

-- One for each threshold of each generation, however late: the primary key is what keeps it from being sent twice.
CREATE TABLE public.rotation_notices (
  secret uuid NOT NULL REFERENCES public.secrets (id),
  generation integer NOT NULL,
  threshold text NOT NULL CONSTRAINT rotation_notices_threshold_form CHECK (threshold ~ '^[A-Z0-9_:-]+$'),
  noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (secret, generation, threshold)
);

-- Keys that rotate overlap: of each generation there is one.
ALTER TABLE public.signing_keys ADD COLUMN generation integer NOT NULL DEFAULT 1;
DROP INDEX public.signing_keys_current;
CREATE UNIQUE INDEX signing_keys_generation_key ON public.signing_keys (log, generation) WHERE valid_until IS NULL;
ALTER TABLE public.api_keys ADD COLUMN generation integer NOT NULL DEFAULT 1;
DROP INDEX public.api_keys_name_key;
CREATE UNIQUE INDEX api_keys_name_key ON public.api_keys (name, generation) WHERE revoked_at IS NULL;
