import { pino, type Logger } from 'pino';
import { secretlessLog } from '../access/secretless-log.js';
import type { Config } from '../config.js';

/** The log of a command, on standard error: what it does is in its output, so only what is wrong is logged unless asked for. */
export function openLog({ logLevel }: Pick<Config, 'logLevel'>): Logger {
  const level = logLevel === 'info' ? 'warn' : logLevel;
  return secretlessLog(pino({ level }, pino.destination({ fd: 2, sync: true })));
}
