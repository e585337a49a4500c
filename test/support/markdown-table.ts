/** Rows of the Markdown table whose first column has this heading, as objects by heading. Fails where there is none. */
export function readTable(markdown: string, firstHeading: string): Record<string, string>[] {
  const lines = markdown.split('\n');
  const start = lines.findIndex((line) => cellsOf(line)[0] === firstHeading);
  if (start < 0) throw new Error(`there is no table with the heading ${firstHeading}`);
  const headings = cellsOf(lines[start] ?? '');
  const rows: Record<string, string>[] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    const cells = cellsOf(line);
    rows.push(Object.fromEntries(headings.map((heading, place) => [heading, cells[place] ?? ''])));
  }
  return rows;
}

function cellsOf(line: string): string[] {
  return line.startsWith('|')
    ? line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim())
    : [];
}
