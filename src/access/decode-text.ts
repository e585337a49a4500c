/** Percent-encoding, escapes of ASCII in JSON and JavaScript, and of quotes and signs in HTML and XML. */
const source = String.raw`(?:%[0-9a-f]{2})+|\\{1,8}u00[2-7][0-9a-f]|&(?:quot|apos|amp|lt|gt|#(?:x[2-7][0-9a-f]|3[2-9]|[4-9]\d|1[01]\d|12[0-6]));`;
const anyEncoding = new RegExp(source, 'i');
const everyEncoding = new RegExp(source, 'gi');

const entities: Readonly<Record<string, string>> = { quot: '"', apos: "'", amp: '&', lt: '<', gt: '>' };

/** True where something in the text may stand for something else. */
export function isEncoded(text: string): boolean {
  return anyEncoding.test(text);
}

/** The text with one level of encoding taken off. */
export function decodeText(text: string): string {
  return text.replace(everyEncoding, (code) => {
    if (code.startsWith('%')) return decodePercent(code);
    if (code.startsWith('\\')) return String.fromCharCode(Number.parseInt(code.slice(-4), 16));
    const name = code.slice(1, -1).toLowerCase();
    if (!name.startsWith('#')) return entities[name] ?? code;
    return String.fromCharCode(name.startsWith('#x') ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1)));
  });
}

function decodePercent(bytes: string): string {
  try {
    return decodeURIComponent(bytes);
  } catch {
    // Not UTF-8: whatever it is, ASCII inside it is what secrets are named by.
    return bytes.replace(/%([2-7][0-9a-f])/gi, (_, byte: string) => String.fromCharCode(Number.parseInt(byte, 16)));
  }
}
