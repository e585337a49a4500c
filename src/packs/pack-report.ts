import type { PackTotals } from '../core/pack-contents.js';
import type { PackFile, PackManifest } from '../core/pack-manifest.js';

/** A page for people: no script, nothing loaded from elsewhere. What it says is in the manifest too. */
export function renderPackReport(
  manifest: Omit<PackManifest, 'summary' | 'files' | 'totals'> & { readonly totals: PackTotals },
  files: Readonly<Record<string, PackFile>>,
): string {
  const { logs, totals, period } = manifest;
  const title = `Evidence pack of ${manifest.export_date}${manifest.kind === 'PARTIAL' ? ' (day not over)' : ''}`;
  const { redactions, ...counts } = totals;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b1f24; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; width: 100%; }
th, td { border-bottom: 1px solid #d0d7de; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
<p>Entries recorded from ${escapeHtml(period.from)} up to, not including, ${escapeHtml(period.to)}. Made at
${escapeHtml(manifest.created_at)} by ${escapeHtml(`${manifest.generator.name} ${manifest.generator.version}`)}.</p>
<p>This page is a summary. What counts is <code>manifest.json</code> and its signature: check the folder with
<code>daybook-verify pack &lt;folder&gt; --key &lt;verifier key&gt;</code>.</p>
<h2>Logs</h2>
${table(
  ['log', 'entries', 'first', 'last', 'tree size', 'root'],
  (['signals', 'audit'] as const).map((log) => {
    const { origin, count, first_index: first, last_index: last, tree_size: size, root_hash: root } = logs[log];
    return [origin, count, first ?? '–', last ?? '–', size, root];
  }),
)}
<h2>Control totals</h2>
${table(['total', 'value'], Object.entries(counts))}
<h2>Redactions</h2>
${table(['rule', 'number'], Object.entries(redactions))}
<h2>Anchors</h2>
${table(
  ['log', 'kind', 'target', 'status', 'reference'],
  manifest.anchors.map(({ log, kind, target, status, reference }) => [log, kind, target, status, reference ?? '–']),
)}
<h2>Files</h2>
${table(
  ['file', 'bytes', 'rows', 'SHA-256'],
  Object.entries(files)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, { size, rows, sha256 }]) => [name, size, rows ?? '–', sha256]),
)}
</body>
</html>
`;
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  if (rows.length === 0) return '<p>none</p>';
  const line = (cells: readonly (string | number)[], tag: 'th' | 'td') =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(String(cell))}</${tag}>`).join('')}</tr>`;
  return `<table>\n${line(head, 'th')}\n${rows.map((cells) => line(cells, 'td')).join('\n')}\n</table>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
