-- Evidence is not dropped: migrate.ts refuses while there are rows.
DROP TRIGGER guard_rotated_key_trigger ON public.signing_keys;
DROP TRIGGER guard_rotated_key_trigger ON public.api_keys;
DROP INDEX public.signing_keys_generation_key, public.api_keys_name_key;
ALTER TABLE public.signing_keys DROP COLUMN generation;
ALTER TABLE public.api_keys DROP COLUMN generation;
CREATE UNIQUE INDEX signing_keys_current ON public.signing_keys (log) WHERE valid_until IS NULL;
CREATE UNIQUE INDEX api_keys_name_key ON public.api_keys (name) WHERE revoked_at IS NULL;
DROP TABLE public.rotation_notices, public.rotation_policies, public.rotation_steps, public.rotations, public.secret_versions,
  public.secrets, public.data_keys, public.encryption_keys;
DROP FUNCTION daybook.refuse_rotation(text), daybook.require_rotation_held(uuid, bigint), daybook.step_rotation(uuid, bigint, text, text, text), daybook.promote_version(uuid, integer),
  daybook.demote_version(uuid, integer), daybook.guard_rotation(), daybook.guard_rotated_key(), daybook.guard_data_key(),
  daybook.guard_encryption_key(), daybook.guard_secret_version(), daybook.may_follow(text, text);
