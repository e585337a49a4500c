import { decodeUtf8, encodeHex } from '../core/bytes.js';
import { canonicalJsonFault } from '../core/canonical-json.js';
import { sha256 } from '../core/digest.js';
import type { BreakList } from '../core/log-breaks.js';
import type { Hash } from '../core/merkle-tree.js';
import { normalizeTimestamp } from '../core/timestamp.js';

/** The bodies of each log (docs/format.md): their `type`, and the key of the recording time. */
const bodyKinds = {
  signals: { type: 'signal', timeKey: 'serverTimestamp' },
  audit: { type: 'audit', timeKey: 'recordedAt' },
} as const;

type BodyKind = (typeof bodyKinds)[keyof typeof bodyKinds];

/** The bodies a log of this origin holds, told by the origin's last part; null for a log that is not one of ours. */
export function bodyKindOf(origin: string): BodyKind | null {
  const log = origin.slice(origin.lastIndexOf('/') + 1);
  return Object.hasOwn(bodyKinds, log) ? bodyKinds[log as keyof typeof bodyKinds] : null;
}

/** Checks bodies handed in by ascending index, each on its own and against the one before. Owned by one verification. */
export class BodyVerifier {
  #lastTime = '';
  /** 0x02 ‖ previous_hash ‖ verification_hash, written anew for each link; the first has 32 zero bytes before it. */
  readonly #linkInput = Uint8Array.of(0x02, ...new Uint8Array(64));

  /** `kind` null: the form is checked, but neither type nor time. */
  constructor(
    private readonly kind: BodyKind | null,
    private readonly breaks: BreakList,
  ) {}

  /** `chain_hash` of the last entry checked, 64 zeros before the first, as hex. */
  get headChainHash(): string {
    return encodeHex(this.#linkInput.subarray(1, 33));
  }

  /** Checks one entry. Answers its recording time, null where it has none that can be read. */
  check(body: Uint8Array, leafHash: Hash, index: number): string | null {
    this.#linkInput.set(leafHash, 33);
    this.#linkInput.set(sha256(this.#linkInput), 1);
    const { fault, time } = this.#read(body);
    if (fault !== null) this.breaks.add('BODY_NOT_CANONICAL', index, `the body ${fault}`);
    if (time === null) return null;
    if (time < this.#lastTime) {
      this.breaks.add('TIME_DISORDER', index, `recorded at ${time}, its predecessor at ${this.#lastTime}`);
    }
    this.#lastTime = time;
    return time;
  }

  #read(body: Uint8Array): { fault: string | null; time: string | null } {
    let text: string;
    try {
      text = decodeUtf8(body);
    } catch (err) {
      if (err instanceof SyntaxError) return { fault: 'is not UTF-8', time: null };
      throw err;
    }
    const fault = canonicalJsonFault(text);
    if (fault !== null) return { fault, time: null };
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return { fault: 'is not an object', time: null };
    }
    return this.#readMembers(value as Record<string, unknown>);
  }

  #readMembers(members: Record<string, unknown>): { fault: string | null; time: string | null } {
    if (members['v'] !== 1) return { fault: 'is not of version 1', time: null };
    if (this.kind === null) return { fault: null, time: null };
    const { type, timeKey } = this.kind;
    if (members['type'] !== type) return { fault: `is not of type "${type}"`, time: null };
    const time = members[timeKey];
    const isCanonical = typeof time === 'string' && time.length === timeLength && normalizeTimestamp(time) === time;
    return isCanonical ? { fault: null, time } : { fault: `has no recording time in "${timeKey}"`, time: null };
  }
}

/** Of 2026-11-20T10:00:00.000000Z; a hostile text is not parsed to see that it is longer. */
const timeLength = 27;
