import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import { TokenStore } from '../../text/token-store.ts';
import { jobFile, writeJob } from './encode-job.ts';

describe('the files of a job', () => {
  it.each([
    ['u16', Uint16Array],
    ['i32', Int32Array],
  ] as const)('hold weights and tokens one after the other: %s', async (kind, Tokens) => {
    const folder = tempFiles({});
    const lengths = Int32Array.of(3, 0, 2, 1);
    const store = TokenStore.of(lengths, Tokens.of(10, 11, 12, 20, 21, 30));
    const weights = {
      a: hostTensor('f32', [2, 1], Float32Array.of(1, 2)),
      // A view into something larger.
      b: hostTensor('f32', [1], Float32Array.of(9, 3, 9).subarray(1, 2)),
    };
    const job = await writeJob(folder, 7, weights, {
      store,
      rows: Uint32Array.of(2, 1, 0),
      ends: Uint32Array.of(2, 3),
    });
    expect(job).toEqual({
      kind: 'job',
      id: 7,
      weights: [
        { name: 'a', dims: [2, 1] },
        { name: 'b', dims: [1] },
      ],
      rows: 3,
      tokens: kind,
      ends: [2, 3],
      done: 0,
    });
    const file = (part: 'weights' | 'tokens') =>
      new Uint8Array(readFileSync(jobFile(folder, 7, part))).buffer;
    expect(new Float32Array(file('weights'))).toEqual(Float32Array.of(1, 2, 3));
    const tokens = file('tokens');
    expect(new Int32Array(tokens, 0, 3)).toEqual(Int32Array.of(2, 0, 3));
    expect(new Tokens(tokens, 12)).toEqual(Tokens.of(20, 21, 10, 11, 12));
  });

  it('are written in pieces, into which a long text need not fit', async () => {
    const folder = tempFiles({});
    const lengths = Int32Array.of(5_000_000, 10, 1_500_000, 1_500_000);
    const all = Uint16Array.from({ length: 8_000_010 }, (_, i) => (i * 31) % 65_521);
    const store = TokenStore.of(lengths, all);
    await writeJob(folder, 1, {}, { store, rows: Uint32Array.of(1, 0, 2, 3), ends: Uint32Array.of(4) });
    const bytes = new Uint8Array(readFileSync(jobFile(folder, 1, 'tokens'))).buffer;
    const expected = new Uint16Array(8_000_010);
    expected.set(store.tokens(1));
    expected.set(store.tokens(0), 10);
    expected.set(all.subarray(5_000_010), 5_000_010);
    expect(Buffer.from(bytes, 16).equals(Buffer.from(expected.buffer))).toBe(true);
  });

  it('name the folder that cannot be written', async () => {
    const store = TokenStore.of(Int32Array.of(1), Uint16Array.of(1));
    const job = writeJob(
      '/nowhere/at/all',
      1,
      {},
      { store, rows: Uint32Array.of(0), ends: Uint32Array.of(1) },
    );
    await expect(job).rejects.toThrow(/\/nowhere\/at\/all.*no such file or folder/);
  });
});
