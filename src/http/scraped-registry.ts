import { Registry } from 'prom-client';

/** Longer than the checks that a gauge may run (health/check-health.ts), in milliseconds. */
const metricTimeoutMs = 3_000;

/**
 * Metrics of which each is scraped for itself: one whose reading fails or hangs, for the database is away, is left out, which
 * alerts on an absent series see. The others are needed most just then.
 */
export class ScrapedRegistry extends Registry {
  override async metrics(): Promise<string> {
    const texts = await Promise.all(
      this.getMetricsAsArray().map(({ name }) => orEmpty(this.getSingleMetricAsString(name))),
    );
    return `${texts.filter((text) => text !== '').join('\n\n')}\n`;
  }
}

async function orEmpty(text: Promise<string>): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(''), metricTimeoutMs);
  try {
    return await Promise.race([text.catch(() => ''), promise]);
  } finally {
    clearTimeout(timer);
  }
}
