/**
 * The results of `start(item)` in the order of the items, with up to `aheadMax` of them under way: hides the round trips
 * while memory stays bounded. Items are drawn only as they are needed.
 */
export async function* readAhead<Item, Result>(
  items: Iterable<Item>,
  aheadMax: number,
  start: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const source = items[Symbol.iterator]();
  const underWay: Promise<Result>[] = [];
  for (;;) {
    while (underWay.length < aheadMax) {
      const next = source.next();
      if (next.done === true) break;
      const result = start(next.value);
      // A failure is reported when its turn comes, and by nobody when the caller stops before that.
      result.catch(() => undefined);
      underWay.push(result);
    }
    const first = underWay.shift();
    if (first === undefined) return;
    yield await first;
  }
}
