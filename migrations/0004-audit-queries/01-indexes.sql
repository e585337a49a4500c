-- So that the first page of every filter is read by an index, however long the log. Each leaves out what most entries have:
-- there the log itself is read in order, and a match is never far.
CREATE INDEX audit_entries_outcome_index ON public.audit_entries (outcome, chain_index) WHERE outcome <> 'OK';
CREATE INDEX audit_entries_action_index ON public.audit_entries (action, chain_index) WHERE action <> 'READ' AND action <> 'CREATE';
CREATE INDEX audit_entries_role_index ON public.audit_entries (role, chain_index) WHERE role <> 'PRODUCER';
CREATE INDEX audit_entries_ip_address_index ON public.audit_entries (ip_address, chain_index) WHERE ip_address IS NOT NULL;

-- An index answers for rows that VACUUM has seen without a look at the table: let it see them soon after they were appended.
ALTER TABLE public.audit_entries SET (autovacuum_vacuum_insert_scale_factor = 0.02);
