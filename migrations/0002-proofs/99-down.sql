-- Evidence is not dropped: migrate.ts refuses while one of these tables has rows.
DROP TABLE public.anchors, public.merkle_roots, public.checkpoints, public.ledger_tiles, public.signing_keys,
  public.integrity_baselines, public.integrity_checksum_log, public.incidents;
DROP FUNCTION daybook.guard_signing_key(), daybook.guard_anchor(), daybook.guard_incident(), daybook.announce_proof();
