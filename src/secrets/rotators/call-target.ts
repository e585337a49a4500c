import { DaybookError } from '../../errors.js';

/** For one whole exchange, in milliseconds: an effect of a rotation is made of several, and has half a minute. */
export const targetTimeoutMsDefault = 7_000;
/** A registration or a token answers with some kilobytes. */
const answerBytesMax = 64 * 1024;
/** Statuses of a target that is overloaded or not ready: later it may well take the same. */
const passingStatuses = new Set([408, 425, 429]);

export interface TargetRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly timeoutMs: number;
}

export interface TargetAnswer {
  readonly status: number;
  /** The JSON object that it holds; empty where it holds none. Never to be repeated in notes. */
  readonly json: Readonly<Record<string, unknown>>;
}

/**
 * The address of a target: https, or http on this machine, without user name, password and fragment. `named` is the setting it
 * comes from. Throws BAD_USER_INPUT.
 */
export function parseTargetUrl(text: string, named: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isLoopback = url !== null && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback))) {
    throw new DaybookError('BAD_USER_INPUT', `${named} must be an https address; http only on this machine`);
  }
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new DaybookError('BAD_USER_INPUT', `${named} holds no user name, no password and no fragment`);
  }
  return url;
}

/**
 * One exchange with a target. Redirects are answers like others: followed, they would hand what is secret to another. Throws
 * SECRET_UNAVAILABLE where no whole answer came, so that it is open what the target did.
 */
export async function callTarget({ url, timeoutMs, ...request }: TargetRequest): Promise<TargetAnswer> {
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, { ...request, redirect: 'manual', signal: deadline });
    return { status: response.status, json: parseObject(await readAtMost(response)) };
  } catch (error) {
    if (error instanceof DaybookError) throw error;
    const why = deadline.aborted ? 'gave no answer in time' : 'cannot be reached';
    throw new DaybookError('SECRET_UNAVAILABLE', `${url.origin} ${why}`, { cause: error });
  }
}

/** Whether an answer says that nothing was done and that asking again is of no use. A redirect is one of them. */
export function isRefusal(status: number): boolean {
  return status >= 300 && status < 500 && !passingStatuses.has(status);
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

async function readAtMost(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    // Leaving the loop ends the connection.
    if (bytes > answerBytesMax) {
      throw new DaybookError('SECRET_UNAVAILABLE', `${new URL(response.url).origin} answers with too much`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
      return parsed as Readonly<Record<string, unknown>>;
    }
  } catch {
    // What is no JSON says nothing: the status stands for itself.
  }
  return {};
}
