import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { ApiKeyStore } from '../access/api-key-store.js';
import type { Principal } from '../access/principal.js';
import { requestIdFrom, type CallSender } from '../access/request-calls.js';
import { toDaybookError } from '../ledger/database-errors.js';

const sessionIdForm = /^[A-Za-z0-9._:-]{1,100}$/;

/** The key in `Authorization: Bearer …`, or null. */
export function bearerKey(authorization: string | undefined): string | null {
  return /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1] ?? null;
}

/**
 * The client's address: the socket's, or what the last `trustedProxies` proxies reported in X-Forwarded-For. What a client
 * itself wrote into that header is never believed.
 */
function clientAddress(request: IncomingMessage, trustedProxies: number): string | null {
  const socketAddress = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? null;
  if (trustedProxies === 0) return socketAddress;
  const forwarded = String(request.headers['x-forwarded-for'] ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  return addressIn(forwarded.at(-trustedProxies) ?? '') ?? socketAddress;
}

/** The address in what a proxy reported, with or without a port; null for anything else, which is not to be recorded as one. */
function addressIn(reported: string): string | null {
  const [, bracketed, withPort] = /^(?:\[([^\]]*)\](?::\d+)?|([\d.]+):\d+)$/.exec(reported) ?? [];
  const address = bracketed ?? withPort ?? reported;
  return isIP(address) === 0 ? null : address;
}

/**
 * Who sent a request, by its key. An unknown, revoked or expired key makes it a sender without a principal. Throws
 * DATABASE_UNAVAILABLE while keys cannot be looked up.
 */
export async function readSender(
  request: IncomingMessage,
  apiKeys: ApiKeyStore,
  trustedProxies: number,
  key = bearerKey(request.headers.authorization),
): Promise<CallSender> {
  const principal = key === null ? null : await lookUp(apiKeys, key);
  const session = String(request.headers['x-session-id'] ?? '');
  return {
    principal,
    ipAddress: clientAddress(request, trustedProxies),
    userAgent: request.headers['user-agent'] ?? null,
    sessionId: sessionIdForm.test(session) ? session : `key:${principal?.keyId ?? 'none'}`,
    requestId: requestIdFrom(request.headers['x-request-id'] as string | undefined),
    method: request.method ?? 'GET',
  };
}

async function lookUp(apiKeys: ApiKeyStore, key: string): Promise<Principal | null> {
  try {
    return await apiKeys.authenticate(key);
  } catch (error) {
    throw toDaybookError(error);
  }
}

/** True for requests from this machine itself, not passed on by a proxy. */
export function isLoopback(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  return (address === '::1' || address.startsWith('127.')) && request.headers['x-forwarded-for'] === undefined;
}
