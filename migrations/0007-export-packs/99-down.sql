-- Evidence is not dropped: migrate.ts refuses while there are rows.
DROP TABLE public.export_packs;
