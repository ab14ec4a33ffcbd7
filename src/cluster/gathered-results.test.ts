import type { JsMsg } from '@nats-io/jetstream';
import { expect, it } from 'vitest';
import { GatheredResults } from './gathered-results.ts';
import type { DecodedPart } from './row-messages.ts';

const message = (name: string) => ({ subject: name }) as JsMsg;
const part = (attempt: string, number: number, parts: number): DecodedPart => ({
  ...{ version: 'v', attempt, part: number, parts, dimension: 1 },
  rows: Uint32Array.of(number),
  marks: BigUint64Array.of(BigInt(number)),
  vectors: Float32Array.of(number + 0.5),
});

it('a block is given when its last part has come, in any order, with the last delivery of each part', () => {
  const gathered = new GatheredResults();
  expect(gathered.add(part('a', 2, 3), message('2'))).toBeUndefined();
  expect(gathered.add(part('a', 0, 3), message('0'))).toBeUndefined();
  expect(gathered.add(part('b', 1, 3), message('other'))).toBeUndefined();
  expect(gathered.add(part('a', 0, 3), message('0 again'))).toBeUndefined();
  const block = gathered.add(part('a', 1, 3), message('1'));
  expect(block?.results).toEqual({
    version: 'v',
    rows: Uint32Array.of(0, 1, 2),
    marks: BigUint64Array.of(0n, 1n, 2n),
    vectors: Float32Array.of(0.5, 1.5, 2.5),
  });
  expect(block?.messages.map(({ subject }) => subject)).toEqual(['0 again', '1', '2']);
  expect(gathered.incomplete).toBe(1);
});

it('a block of one part is given at once', () => {
  expect(new GatheredResults().add(part('a', 0, 1), message('x'))?.messages).toHaveLength(1);
});

it('what stays incomplete is abandoned', () => {
  const gathered = new GatheredResults();
  gathered.add(part('a', 0, 2), message('x'));
  expect(gathered.takeAbandoned(60_000)).toEqual([]);
  expect(gathered.takeAbandoned(0).map(({ subject }) => subject)).toEqual(['x']);
  expect(gathered.incomplete).toBe(0);
});
