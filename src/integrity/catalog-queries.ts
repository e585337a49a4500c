/**
 * What the monitor reads from PostgreSQL's catalogue, one query for each kind of object. Each row has `key`, the object's
 * full name, and text columns: its facts. `xmin`, the transaction that last wrote the catalogue's row, stays when an
 * object is changed and changed back; VACUUM, ANALYZE and REINDEX leave it alone. Where normal operation rewrites rows
 * (indexes), or the catalogue keeps it to superusers (roles), it is not read. To be run with search_path = pg_catalog: then each
 * name outside of it is printed with its schema.
 *
 * REINDEX CONCURRENTLY writes anew the rows of what stands on an index: constraints by an index, foreign keys, and the
 * triggers that carry foreign keys out. In place of `xmin` they have `oid`, which stays until they are dropped (such a
 * trigger has it in its name).
 */
export const catalogQueries = {
  schemas: `
    SELECT space.nspname::text AS key, pg_get_userbyid(space.nspowner)::text AS owner, space.nspacl::text AS grants,
      space.xmin::text AS xmin
    FROM pg_catalog.pg_namespace AS space WHERE space.nspname IN ('public', 'daybook')`,

  relations: `
    SELECT format('%I.%I', space.nspname, relation.relname) AS key, relation.relkind::text AS kind,
      pg_get_userbyid(relation.relowner)::text AS owner, relation.relpersistence::text AS persistence,
      (SELECT amname::text FROM pg_catalog.pg_am WHERE oid = relation.relam) AS "accessMethod",
      (SELECT spcname::text FROM pg_catalog.pg_tablespace WHERE oid = relation.reltablespace) AS tablespace,
      relation.relrowsecurity::text AS "rowSecurity", relation.relforcerowsecurity::text AS "forcedRowSecurity",
      relation.relacl::text AS grants, relation.reloptions::text AS options, relation.xmin::text AS xmin,
      (SELECT format('start %s, increment %s, from %s to %s, cache %s, cycle %s', seqstart, seqincrement, seqmin, seqmax,
         seqcache, seqcycle) FROM pg_catalog.pg_sequence WHERE seqrelid = relation.oid) AS sequence
    FROM pg_catalog.pg_class AS relation JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook') AND relation.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')`,

  columns: `
    SELECT format('%I.%I.%I', space.nspname, relation.relname, item.attname) AS key, item.attnum::text AS position,
      format_type(item.atttypid, item.atttypmod) AS type, item.attnotnull::text AS "notNull",
      (SELECT pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef
       WHERE adrelid = item.attrelid AND adnum = item.attnum) AS "default",
      item.attidentity::text AS identity, item.attgenerated::text AS generated, item.attstorage::text AS storage,
      (SELECT collname::text FROM pg_catalog.pg_collation WHERE oid = item.attcollation) AS collation,
      item.attacl::text AS grants, item.xmin::text AS xmin
    FROM pg_catalog.pg_attribute AS item JOIN pg_catalog.pg_class AS relation ON relation.oid = item.attrelid
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook') AND relation.relkind IN ('r', 'p', 'f', 'v', 'm') AND item.attnum > 0`,

  constraints: `
    SELECT format('%I.%I.%I', space.nspname, relation.relname, item.conname) AS key,
      pg_get_constraintdef(item.oid) AS definition, item.convalidated::text AS validated,
      CASE WHEN item.contype IN ('p', 'u', 'x', 'f') THEN item.oid::text END AS oid,
      CASE WHEN item.contype NOT IN ('p', 'u', 'x', 'f') THEN item.xmin::text END AS xmin
    FROM pg_catalog.pg_constraint AS item JOIN pg_catalog.pg_class AS relation ON relation.oid = item.conrelid
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook')`,

  indexes: `
    SELECT format('%I.%I', space.nspname, named.relname) AS key, pg_get_indexdef(item.indexrelid) AS definition,
      item.indisvalid::text AS valid, item.indisready::text AS ready
    FROM pg_catalog.pg_index AS item JOIN pg_catalog.pg_class AS named ON named.oid = item.indexrelid
      JOIN pg_catalog.pg_class AS relation ON relation.oid = item.indrelid
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook') AND item.indisunique`,

  rules: `
    SELECT format('%I.%I.%I', space.nspname, relation.relname, item.rulename) AS key,
      pg_get_ruledef(item.oid) AS definition, item.ev_enabled::text AS enabled, item.xmin::text AS xmin
    FROM pg_catalog.pg_rewrite AS item JOIN pg_catalog.pg_class AS relation ON relation.oid = item.ev_class
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook')`,

  policies: `
    SELECT format('%I.%I.%I', space.nspname, relation.relname, item.polname) AS key, item.polcmd::text AS command,
      item.polpermissive::text AS permissive, item.polroles::regrole[]::text AS roles,
      pg_get_expr(item.polqual, item.polrelid) AS condition, pg_get_expr(item.polwithcheck, item.polrelid) AS "check",
      item.xmin::text AS xmin
    FROM pg_catalog.pg_policy AS item JOIN pg_catalog.pg_class AS relation ON relation.oid = item.polrelid
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook')`,

  children: `
    SELECT format('%s of %I.%I', item.inhrelid::regclass, space.nspname, relation.relname) AS key,
      item.xmin::text AS xmin
    FROM pg_catalog.pg_inherits AS item JOIN pg_catalog.pg_class AS relation ON relation.oid = item.inhparent
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook')`,

  triggers: `
    SELECT format('%I.%I.%I', space.nspname, relation.relname, item.tgname) AS key, item.tgenabled::text AS enabled,
      item.tgfoid::regprocedure::text AS function, pg_get_triggerdef(item.oid) AS definition,
      CASE WHEN NOT item.tgisinternal THEN item.xmin::text END AS xmin
    FROM pg_catalog.pg_trigger AS item JOIN pg_catalog.pg_class AS relation ON relation.oid = item.tgrelid
      JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace
    WHERE space.nspname IN ('public', 'daybook')`,

  // Those that triggers call are read wherever they stand.
  functions: `
    SELECT item.oid::regprocedure::text AS key, pg_get_userbyid(item.proowner)::text AS owner,
      item.proacl::text AS grants,
      encode(sha256(convert_to(CASE item.prokind WHEN 'a' THEN item.prosrc ELSE pg_get_functiondef(item.oid) END, 'UTF8')),
        'hex') AS sha256,
      item.xmin::text AS xmin
    FROM pg_catalog.pg_proc AS item JOIN pg_catalog.pg_namespace AS space ON space.oid = item.pronamespace
    WHERE space.nspname = 'daybook'
      OR item.oid IN (SELECT evtfoid FROM pg_catalog.pg_event_trigger)
      OR item.oid IN (SELECT fired.tgfoid FROM pg_catalog.pg_trigger AS fired
           JOIN pg_catalog.pg_class AS relation ON relation.oid = fired.tgrelid
           JOIN pg_catalog.pg_namespace AS place ON place.oid = relation.relnamespace
         WHERE place.nspname IN ('public', 'daybook'))`,

  eventTriggers: `
    SELECT item.evtname::text AS key, item.evtevent::text AS event, item.evttags::text AS tags,
      item.evtenabled::text AS enabled, item.evtfoid::regprocedure::text AS function,
      pg_get_userbyid(item.evtowner)::text AS owner, item.xmin::text AS xmin
    FROM pg_catalog.pg_event_trigger AS item`,

  extensions: `
    SELECT item.extname::text AS key, pg_get_userbyid(item.extowner)::text AS owner,
      item.extnamespace::regnamespace::text AS schema, item.extversion AS version, item.xmin::text AS xmin
    FROM pg_catalog.pg_extension AS item`,

  foreignDataWrappers: `
    SELECT item.fdwname::text AS key, pg_get_userbyid(item.fdwowner)::text AS owner,
      item.fdwhandler::regproc::text AS handler, item.fdwvalidator::regproc::text AS validator,
      item.fdwacl::text AS grants, item.fdwoptions::text AS options, item.xmin::text AS xmin
    FROM pg_catalog.pg_foreign_data_wrapper AS item`,

  // The service writes the address of its own server, and the mapping, at each start: what counts is where it leads to.
  foreignServers: `
    SELECT item.srvname::text AS key, pg_get_userbyid(item.srvowner)::text AS owner, wrapper.fdwname::text AS wrapper,
      item.srvtype AS type, item.srvversion AS version, item.srvacl::text AS grants,
      CASE WHEN (target.host = '127.0.0.1' OR target.host LIKE '/%') AND target.port = current_setting('port')
          AND target.database = current_database() THEN 'this database'
        ELSE concat(target.host, ':', target.port, '/', target.database) END AS target,
      target.others::text AS options
    FROM pg_catalog.pg_foreign_server AS item
      JOIN pg_catalog.pg_foreign_data_wrapper AS wrapper ON wrapper.oid = item.srvfdw,
      LATERAL (SELECT min(option_value) FILTER (WHERE option_name = 'host') AS host,
        min(option_value) FILTER (WHERE option_name = 'port') AS port,
        min(option_value) FILTER (WHERE option_name = 'dbname') AS database,
        array_agg(option_name || '=' || option_value ORDER BY option_name)
          FILTER (WHERE option_name NOT IN ('host', 'port', 'dbname')) AS others
        FROM pg_options_to_table(item.srvoptions)) AS target`,

  // Whose password it holds, only the owner may read.
  userMappings: `
    SELECT format('%I on %I', item.usename, item.srvname) AS key FROM pg_catalog.pg_user_mappings AS item`,

  // Which of the application's logins are open is a matter of their rotation.
  roles: `
    SELECT item.rolname::text AS key, item.rolsuper::text AS superuser, item.rolcreaterole::text AS "createRole",
      item.rolcreatedb::text AS "createDatabase", item.rolreplication::text AS replication,
      item.rolbypassrls::text AS "bypassRowSecurity", item.rolinherit::text AS inherit,
      CASE WHEN item.rolname NOT IN ('daybook_application_a', 'daybook_application_b') THEN item.rolcanlogin::text END AS login
    FROM pg_catalog.pg_roles AS item
    WHERE item.rolname LIKE 'daybook\\_%'
      OR item.oid = (SELECT relowner FROM pg_catalog.pg_class WHERE oid = 'public.signals'::regclass)`,

  // The grantor is part of the name: the same membership can be granted by several. Two options came with PostgreSQL 16.
  memberships: `
    SELECT format('%I in %I, granted by %I', member.rolname, role.rolname, pg_get_userbyid(item.grantor)) AS key,
      item.admin_option::text AS admin, to_jsonb(item) ->> 'inherit_option' AS inherit,
      to_jsonb(item) ->> 'set_option' AS "set"
    FROM pg_catalog.pg_auth_members AS item JOIN pg_catalog.pg_roles AS role ON role.oid = item.roleid
      JOIN pg_catalog.pg_roles AS member ON member.oid = item.member
    WHERE role.rolname LIKE 'daybook\\_%' OR member.rolname LIKE 'daybook\\_%'`,

  settings: `
    SELECT format('%s in %s', coalesce(quote_ident(role.rolname), 'every role'),
        CASE item.setdatabase WHEN 0 THEN 'every database' ELSE 'this database' END) AS key,
      item.setconfig::text AS "values"
    FROM pg_catalog.pg_db_role_setting AS item LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = item.setrole
    WHERE item.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
      AND (role.rolname LIKE 'daybook\\_%' OR (item.setrole = 0 AND item.setdatabase <> 0))`,
} as const;

export type CatalogSection = keyof typeof catalogQueries;
