-- Evidence is not dropped: migrate.ts refuses while one of these tables has rows.
DROP TABLE public.config_snapshots, public.config_snapshot_files, public.config_contents;
