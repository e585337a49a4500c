/** Milliseconds since the Unix epoch. Handed in, so that tests decide what time it is. */
export interface Clock {
  nowMs(): number;
}
