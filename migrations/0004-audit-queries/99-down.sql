DROP INDEX public.audit_entries_outcome_index, public.audit_entries_action_index, public.audit_entries_role_index,
  public.audit_entries_ip_address_index;
