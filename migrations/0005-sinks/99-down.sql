-- Positions are lost: sinks begin anew.
DROP TABLE public.audit_sinks;
DROP FUNCTION daybook.guard_sink();
