-- Evidence is not dropped: migrate.ts refuses while there are rows.
DROP FUNCTION daybook.purge_entries(bigint, text),
  daybook.tell_again(bigint, text, public.audit_entries, boolean, uuid[]), daybook.first_kept_index(), daybook.set_retention(interval, interval),
  daybook.lock_retention(), daybook.archive_statement(public.log_archives, text);
DROP TABLE public.restored_entries, public.legal_holds, public.log_archives, public.retention_policies;
DROP FUNCTION daybook.guard_restored_entry(), daybook.guard_legal_hold(), daybook.guard_archive(),
  daybook.is_told(text, text, text);
