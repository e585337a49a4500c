import { Socket } from 'node:net';
import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { describeServer, readPassword, readUser } from './admin-connection.js';
import { tryLogin } from './application-logins.js';
import type { OpenDatabase } from './open-database.js';

/** A connection URL that stays, or a login that may change while its connections are open. */
export type LoginSource = string | Login;

/** Settings of a connection; `login` where it has to be replaced when the login changes. */
export interface LoginConnection extends pg.ClientConfig {
  readonly login?: Login;
}

/**
 * The application's database login that this node uses. Connections are made with the one in force; those made before a change
 * go on until whoever holds them replaces them at a moment of their own, so that no query and no transaction is cut.
 */
export class Login {
  #url: string;
  readonly #fixedBecause: string | null;
  #changing: Promise<void> = Promise.resolve();
  /** Credentials that were in force before. */
  readonly #former = new Set<string>();
  readonly #listeners = new Set<() => void>();
  readonly #sockets = new Map<Socket, { readonly credentials: string; readonly name: string }>();
  #closed = Promise.withResolvers<void>();

  /** `fixedBecause`: why this login cannot be changed, where it cannot. */
  constructor(url: string, fixedBecause: string | null = null) {
    this.#url = url;
    this.#fixedBecause = fixedBecause;
  }

  /** The connection URL in force, with its password. */
  get url(): string {
    return this.#url;
  }

  /** Why this login cannot be changed; null where it can. */
  get fixedBecause(): string | null {
    return this.#fixedBecause;
  }

  /** The role that logs in. */
  get role(): string {
    return readUser(this.#url);
  }

  /**
   * Puts another login in force, for the same server and database. It is tried first: on any error the old one stays. Throws
   * CONFIG_INVALID where the new one is refused, lacks a right, or none can be had, and DATABASE_UNAVAILABLE where the server
   * does not answer. Calls wait for each other.
   */
  change(url: string): Promise<void> {
    const changed = this.#changing.then(() => this.#change(url));
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  /**
   * Resolves when this process has no connection of a former login left, or after `timeoutMs`; then with the names of those
   * that are left, one for each. What runs to its end with one connection, such as an export, may take long.
   */
  async drained(timeoutMs: number): Promise<readonly string[]> {
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, timeoutMs);
    let isOver = false;
    void timeout.promise.then(() => (isOver = true));
    try {
      while (this.#left().length > 0 && !isOver) await Promise.race([this.#closed.promise, timeout.promise]);
      return this.#left();
    } finally {
      clearTimeout(timer);
    }
  }

  /** True for a connection of a former login. */
  isFormer(client: pg.ClientBase): boolean {
    const { user, password } = client as pg.Client;
    return this.#former.has(credentialsOf(user ?? '', password ?? null));
  }

  /** Calls `listener`, which must not throw, after each change until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The socket of a connection that is about to be made with the login in force; `name` says whose. */
  createSocket(name: string): Socket {
    const socket = new Socket();
    this.#sockets.set(socket, { credentials: credentialsIn(this.#url), name });
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#closed.resolve();
      this.#closed = Promise.withResolvers();
    });
    return socket;
  }

  async #change(url: string): Promise<void> {
    if (url === this.#url) return;
    if (this.#fixedBecause !== null) throw refused(this.#fixedBecause);
    if (describeServer(url) !== describeServer(this.#url)) throw refused('it leads to another server or database');
    const trial = await tryLogin(url);
    if (!trial.works) throw refused(trial.reason);
    this.#former.add(credentialsIn(this.#url));
    this.#former.delete(credentialsIn(url));
    this.#url = url;
    for (const listener of [...this.#listeners]) listener();
  }

  #left(): string[] {
    return [...this.#sockets.values()]
      .filter(({ credentials }) => this.#former.has(credentials))
      .map(({ name }) => name);
  }
}

/** The application's login of an open database. Without roles of its own there is but the administrator's. */
export function openLogin({ urls, missingLayers }: Pick<OpenDatabase, 'urls' | 'missingLayers'>): Login {
  const single = missingLayers.find(({ name }) => name === 'role-separation');
  return new Login(urls.application, single === undefined ? null : `${single.cause} ${single.mend}`);
}

/** Settings of a connection with the login in force. */
export function connectionOf(source: LoginSource, applicationName: string): LoginConnection {
  const settings = { connectionString: urlOf(source), application_name: applicationName };
  if (typeof source === 'string') return settings;
  return { ...settings, login: source, stream: () => source.createSocket(applicationName) };
}

/** True where the login has changed since `client` was made, so that it is to be replaced when nothing runs on it. */
export function isFormerLogin(source: LoginSource, client: pg.ClientBase): boolean {
  return typeof source !== 'string' && source.isFormer(client);
}

/** Calls `listener` after each change, until the returned function is called. */
export function onLoginChange(source: LoginSource, listener: () => void): () => void {
  return typeof source === 'string' ? () => undefined : source.onChange(listener);
}

function urlOf(source: LoginSource): string {
  return typeof source === 'string' ? source : source.url;
}

function credentialsIn(url: string): string {
  return credentialsOf(readUser(url), readPassword(url));
}

function credentialsOf(user: string, password: string | null): string {
  return `${user}\0${password ?? ''}`;
}

function refused(reason: string): DaybookError {
  return new DaybookError('CONFIG_INVALID', `The database login was not changed: ${reason}`);
}
