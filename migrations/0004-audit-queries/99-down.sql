ALTER TABLE public.audit_entries RESET (autovacuum_vacuum_insert_scale_factor);
DROP FUNCTION daybook.roll_up_audit_totals(integer);
DROP TABLE public.audit_totals;
DROP INDEX public.audit_entries_outcome_index, public.audit_entries_action_index, public.audit_entries_role_index,
  public.audit_entries_ip_address_index;
