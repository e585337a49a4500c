/** What an entry's details hold, whatever somebody wrote there. */
export type Details = Readonly<Record<string, unknown>>;

/**
 * One kind of row that is stored together with an entry, and how the two must agree. Values are compared as text; an absent
 * one is null.
 */
export interface RecordedKind {
  /** For messages, with an article. */
  readonly name: string;
  /**
   * Rows: `key`, the resource that their entry names, `turn`, by which rows of one key are ordered, `at`, the time of what the
   * entry tells, and columns of text.
   */
  readonly rows: string;
  /** Events of the entries. */
  readonly events: readonly string[];
  /** Where only the first entry of a key counts: what is done a second time changes nothing and is on record again. */
  readonly firstOnly?: true;
  /** Where only the newest entry of a key counts: the row has no history. Entries that a restore brought back do not count. */
  readonly newestOnly?: true;
  /** What the columns must be, by the entry. */
  readonly told: (details: Details, actor: string | null) => Readonly<Record<string, string | null>>;
}

const time = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/**
 * When a step of a hold was told: where the entry about the hold itself is in the log, that of any later step has to be too,
 * whatever time its row claims.
 */
const holdTime = (column: string) => `CASE WHEN EXISTS (SELECT FROM public.audit_entries AS placed
  WHERE placed.event = 'LegalHoldPlaced' AND placed.resource = concat('legal-hold/', legal_holds.id)
  UNION ALL SELECT FROM public.audit_entries AS kept WHERE kept.event = 'LegalHoldKept'
    AND kept.resource = concat('legal-hold/', legal_holds.id) AND '${column}' = 'released_at')
  THEN 'infinity' ELSE ${column} END`;

/** Every table whose rows have entries, an explicit list; each step of a row is a kind of its own. */
export const recordedKinds: readonly RecordedKind[] = [
  {
    name: 'an API key',
    rows: `SELECT concat('api-key/', id) AS key, created_at AS turn, created_at AS at, name, role, prefix, ${time('expires_at')} AS expires,
        coalesce(created_by, 'daybook') AS author FROM public.api_keys`,
    events: ['ApiKeyCreated'],
    told: ({ name, keyRole, prefix, expiresAt }, actor) => ({
      name: textOf(name),
      role: textOf(keyRole),
      prefix: textOf(prefix),
      expires: textOf(expiresAt),
      author: actor,
    }),
  },
  {
    name: 'a revoked API key',
    rows: `SELECT concat('api-key/', id) AS key, revoked_at AS turn, revoked_at AS at, coalesce(revoked_by, 'unknown') AS author
      FROM public.api_keys WHERE revoked_at IS NOT NULL`,
    events: ['ApiKeyRevoked'],
    firstOnly: true,
    told: (_details, actor) => ({ author: actor ?? 'unknown' }),
  },
  {
    name: 'a signing key',
    rows: `SELECT concat('signing-key/', key_id) AS key, valid_from AS turn, valid_from AS at, log,
        concat(origin, '+', key_id, '+', replace(encode('\\x01'::bytea || public_key, 'base64'), E'\\n', '')) AS verifier
      FROM public.signing_keys`,
    events: ['SigningKeyCreated'],
    told: ({ log, verifierKey }) => ({ log: textOf(log), verifier: textOf(verifierKey) }),
  },
  {
    name: 'an incident',
    rows: `SELECT concat('incident/', id) AS key, number AS turn, opened_at AS at, kind, fingerprint, title, opened_by AS author
      FROM public.incidents`,
    events: ['IncidentOpened'],
    told: ({ kind, fingerprint, title }, actor) => ({
      kind: textOf(kind),
      fingerprint: textOf(fingerprint),
      title: textOf(title),
      author: actor ?? 'unknown',
    }),
  },
  {
    // Whoever closes an incident that nobody acknowledged acknowledges it.
    name: 'an acknowledged incident',
    rows: `SELECT concat('incident/', id) AS key, number AS turn, acknowledged_at AS at, acknowledged_by AS author, acknowledgement_note AS note
      FROM public.incidents WHERE status <> 'OPEN'`,
    events: ['IncidentAcknowledged', 'IncidentClosed'],
    firstOnly: true,
    told: ({ note }, actor) => ({ author: actor ?? 'unknown', note: textOf(note) }),
  },
  {
    name: 'a closed incident',
    rows: `SELECT concat('incident/', id) AS key, number AS turn, closed_at AS at, closed_by AS author, closing_note AS note
      FROM public.incidents WHERE status = 'CLOSED'`,
    events: ['IncidentClosed'],
    told: ({ note }, actor) => ({ author: actor ?? 'unknown', note: textOf(note) }),
  },
  {
    name: 'an integrity check',
    rows: `SELECT concat('integrity-check/', id) AS key, number AS turn, ended_at AS at, kind, result, entries_checked::text AS entries,
        failed_verifications::text AS failed, round(duration_ms)::text AS duration, ranges::text AS ranges, error,
        requested_by AS author FROM public.integrity_checksum_log`,
    events: ['IntegrityChecked'],
    told: ({ kind, result, entries, failedVerifications, durationMs, ranges, error }, actor) => ({
      kind: textOf(kind),
      result: textOf(result),
      entries: textOf(entries),
      failed: textOf(failedVerifications),
      duration: typeof durationMs === 'number' ? String(durationMs) : null,
      // Canonical in both places, so parsing and writing leaves the order of keys.
      ranges: JSON.stringify(ranges) ?? null,
      error: textOf(error),
      author: actor ?? 'unknown',
    }),
  },
  {
    name: "a day's root",
    rows: `SELECT concat(sealed.log, '/', sealed.date) AS key, sealed.number AS turn, sealed.sealed_at AS at, sealed.log, sealed.date::text AS date,
        sealed.tree_size::text AS size, sealed.entries_of_day::text AS "ofDay", encode(signed.root_hash, 'hex') AS root,
        sealed.sealed_by AS author
      FROM public.merkle_roots AS sealed LEFT JOIN public.checkpoints AS signed USING (log, tree_size)`,
    events: ['MerkleRootSealed'],
    told: ({ log, date, treeSize, entriesOfDay, rootHash }, actor) => ({
      log: textOf(log),
      date: textOf(date),
      size: textOf(treeSize),
      ofDay: textOf(entriesOfDay),
      root: textOf(rootHash),
      author: actor,
    }),
  },
  {
    name: 'an archive',
    rows: `SELECT concat('archive/', first_index, '-', last_index) AS key, number AS turn, created_at AS at,
        object_key AS object, bytes::text AS bytes, encode(object_hash, 'hex') AS sha256, version_id AS version,
        created_by AS author FROM public.log_archives`,
    events: ['ArchiveCreated'],
    told: ({ objectKey, bytes, sha256, versionId }, actor) => ({
      object: textOf(objectKey),
      bytes: textOf(bytes),
      sha256: textOf(sha256),
      version: textOf(versionId),
      author: actor ?? 'unknown',
    }),
  },
  {
    name: 'an archive that was given up',
    rows: `SELECT concat('archive/', number) AS key, number AS turn, removed_at AS at, removed_by AS author
      FROM public.log_archives WHERE removed_at IS NOT NULL`,
    events: ['ArchiveRemoved'],
    told: (_details, actor) => ({ author: actor ?? 'unknown' }),
  },
  {
    // Told again with each removal that takes its entry along, as long as it holds.
    name: 'a legal hold',
    rows: `SELECT concat('legal-hold/', id) AS key, number AS turn, reason, signal_id AS signal, actor,
        resource_prefix AS prefix, ${time('recorded_from')} AS "from", ${time('recorded_to')} AS "to", placed_by AS author,
        CASE WHEN released_at IS NULL THEN 'infinity' ELSE placed_at END AS at FROM public.legal_holds`,
    events: ['LegalHoldPlaced', 'LegalHoldKept'],
    firstOnly: true,
    told: ({ reason, scope, placedBy }, actor) => {
      const named = (scope ?? {}) as Details;
      return {
        reason: textOf(reason),
        signal: textOf(named.signalId),
        actor: textOf(named.actor),
        prefix: textOf(named.resourcePrefix),
        from: textOf(named.recordedFrom),
        to: textOf(named.recordedTo),
        author: textOf(placedBy) ?? actor ?? 'unknown',
      };
    },
  },
  {
    name: "the request for a legal hold's release",
    rows: `SELECT concat('legal-hold/', id) AS key, number AS turn, ${holdTime('release_requested_at')} AS at,
        release_requested_by AS author, release_reason AS reason
      FROM public.legal_holds WHERE release_requested_by IS NOT NULL`,
    events: ['LegalHoldReleaseRequested'],
    told: ({ reason }, actor) => ({ author: actor ?? 'unknown', reason: textOf(reason) }),
  },
  {
    name: 'a legal hold that was released',
    rows: `SELECT concat('legal-hold/', id) AS key, number AS turn, ${holdTime('released_at')} AS at, released_by AS author
      FROM public.legal_holds WHERE released_at IS NOT NULL`,
    events: ['LegalHoldReleased'],
    told: (_details, actor) => ({ author: actor ?? 'unknown' }),
  },
  {
    name: 'the retention',
    // Nobody told of what the migration set.
    rows: `SELECT 'retention/audit' AS key, 1 AS turn, 'infinity'::timestamptz AS at, online::text AS online,
        archived::text AS archived FROM public.retention_policies
      WHERE (online = interval '90 days' AND archived = interval '7 years') IS NOT TRUE
        OR EXISTS (SELECT FROM public.audit_entries WHERE event IN ('RetentionPolicyChanged', 'RetentionPolicyKept')
                   AND resource = 'retention/audit')`,
    events: ['RetentionPolicyChanged', 'RetentionPolicyKept'],
    newestOnly: true,
    told: ({ online, archived }) => ({ online: textOf(online), archived: textOf(archived) }),
  },
  {
    name: 'an integrity baseline',
    rows: `SELECT concat('integrity-baseline/', encode(facts_hash, 'hex')) AS key, number AS turn, taken_at AS at, reason,
        taken_by AS author FROM public.integrity_baselines`,
    events: ['IntegrityBaselineSet'],
    told: ({ reason }, actor) => ({ reason: textOf(reason), author: actor ?? 'unknown' }),
  },
];

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
