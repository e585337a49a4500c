import { isAbsolute, join, normalize } from 'node:path';

/** One name of a path: literal, a pattern for names, or `**` for any number of folders. */
export type GlobSegment = { readonly name: string } | { readonly matches: RegExp } | 'any-folders';

/** Most alternatives that the braces of one pattern may stand for. */
const alternativesMax = 100;

/** The patterns of a setting: separated by lines, or by commas outside braces; lines that begin with `#` are comments. */
export function splitPatterns(setting: string): string[] {
  return setting
    .split(/\r?\n/)
    .filter((line) => !line.trimStart().startsWith('#'))
    .flatMap((line) => splitOutsideBraces(line, ','))
    .map((pattern) => pattern.trim())
    .filter((pattern) => pattern !== '');
}

/** The pattern once for each choice of its braces: `a.{yaml,json}` gives two. Null where these are too many. */
export function expandBraces(pattern: string): string[] | null {
  let expanded = [pattern];
  for (;;) {
    const next = expanded.flatMap(expandFirst);
    if (next.length > alternativesMax) return null;
    if (next.length === expanded.length && next.every((one, place) => one === expanded[place])) return next;
    expanded = next;
  }
}

/** The absolute path of a pattern without `.` and `..`, split at its slashes. */
export function parsePattern(pattern: string, root: string): GlobSegment[] {
  const path = normalize(isAbsolute(pattern) ? pattern : join(root, pattern));
  return path.split('/').filter(Boolean).map(parseSegment);
}

function parseSegment(name: string): GlobSegment {
  if (name === '**') return 'any-folders';
  if (!/[*?[]/.test(name)) return { name };
  let source = name.startsWith('.') ? '' : '(?!\\.)';
  for (let place = 0; place < name.length; place += 1) {
    const letter = name[place] ?? '';
    const close = letter === '[' ? name.indexOf(']', place + 2) : -1;
    if (letter === '*') source += '[^/]*';
    else if (letter === '?') source += '[^/]';
    else if (close !== -1) {
      const inside = name.slice(place + 1, close).replaceAll(/[\\[\]^]/g, '\\$&');
      source += inside.startsWith('!') ? `[^/${inside.slice(1)}]` : `[${inside}]`;
      place = close;
    } else source += letter.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  }
  return { matches: compile(`^${source}$`, name) };
}

/** A class that is none, as in `[z-a]`, makes the name literal. */
function compile(source: string, name: string): RegExp {
  try {
    return new RegExp(source, 'u');
  } catch (error) {
    if (error instanceof SyntaxError) return new RegExp(`^${name.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&')}$`);
    throw error;
  }
}

function expandFirst(pattern: string): string[] {
  const braces = /\{([^{}]*,[^{}]*)\}/.exec(pattern);
  if (braces === null) return [pattern];
  const before = pattern.slice(0, braces.index);
  const after = pattern.slice(braces.index + braces[0].length);
  return (braces[1] ?? '').split(',').map((choice) => `${before}${choice}${after}`);
}

function splitOutsideBraces(line: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let place = 0; place < line.length; place += 1) {
    if (line[place] === '{') depth += 1;
    else if (line[place] === '}') depth = Math.max(0, depth - 1);
    else if (line[place] === separator && depth === 0) {
      parts.push(line.slice(start, place));
      start = place + 1;
    }
  }
  return [...parts, line.slice(start)];
}
