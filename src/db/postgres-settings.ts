/** One setting of the server with the reason why it differs from PostgreSQL's default or must not follow a changed one. */
type Setting = readonly [name: string, value: string, reason: string];

const SETTINGS: readonly Setting[] = [
  ['listen_addresses', "'127.0.0.1'", 'reachable from this machine only'],
  ['unix_socket_directories', "''", 'one way in, with a password, instead of a socket that others may find'],
  ['password_encryption', 'scram-sha-256', 'no md5 verifiers'],
  ['max_connections', '100', 'two pools of 40 and room for people'],
  ['superuser_reserved_connections', '3', 'the administrator gets in when all others are used'],
  ['reserved_connections', '3', 'the record of a refused modification is written when all others are used'],
  ['fsync', 'on', 'an acknowledged entry survives a power cut'],
  ['synchronous_commit', 'on', 'an entry is acknowledged when it is on disk'],
  ['full_page_writes', 'on', 'a page torn by a power cut is repaired'],
  ['wal_level', 'replica', 'backups and standbys can be taken'],
  ['max_wal_size', "'2GB'", 'bursts of appends do not force checkpoints'],
  ['max_slot_wal_keep_size', "'16GB'", 'a standby that is gone for good does not fill the disk'],
  ['shared_buffers', "'256MB'", 'the tail of the logs and their indexes stay in memory'],
  ['jit', 'off', 'compiling takes longer than the short queries it would speed up'],
  ['timezone', "'UTC'", 'times are shown as they are recorded'],
  ['log_timezone', "'UTC'", 'log lines can be laid beside audit entries'],
  ['lc_messages', "'C'", 'log lines read the same on every machine'],
  ['logging_collector', 'on', 'the log goes on when the process that started the server has ended'],
  ['log_directory', "'../log'", 'beside the data, so that a base backup does not carry it'],
  ['log_filename', "'postgresql-%d.log'", 'one file per day of the month'],
  ['log_rotation_age', "'1d'", 'one file per day of the month'],
  ['log_rotation_size', '0', 'one file per day of the month'],
  ['log_truncate_on_rotation', 'on', 'a month of log is kept'],
  ['log_line_prefix', "'%m [%p] %q%u@%d %a %h '", 'who did it and from where'],
  ['log_statement', "'ddl'", 'a change of the schema or of a role leaves a line; verifiers are sent, never passwords'],
  [
    'log_min_error_statement',
    'panic',
    'a statement that fails holds what was sent; a refused modification leaves its own line',
  ],
  ['log_error_verbosity', 'terse', 'the detail of an error repeats the values of a row'],
  ['log_parameter_max_length', '0', 'values that are bound to a statement are nobody’s but the caller’s'],
  ['log_parameter_max_length_on_error', '0', 'values that are bound to a statement are nobody’s but the caller’s'],
  ['log_lock_waits', 'on', 'an append that waits for more than a second is explained'],
];

/** The text of daybook.conf, which postgresql.conf includes last. Rewritten at each start; ALTER SYSTEM overrides it. */
export function serverSettings(port: number): string {
  const lines = SETTINGS.map(([name, value, reason]) => `${name} = ${value}  # ${reason}`);
  return ['# Written by Daybook at each start: changes here are lost.', `port = ${port}`, ...lines, ''].join('\n');
}
