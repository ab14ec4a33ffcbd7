import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { damage } from '../../test/damage.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError } from '../util/errors.ts';
import { readParquet } from './parquet.ts';

const fixture = (codec: string) => readFileSync(new URL(`fixtures/pairs-${codec}.parquet`, import.meta.url));

/** Reads a file with the given bytes, and returns its number of rows. */
async function rowsOf(bytes: Uint8Array): Promise<number> {
  let rows = 0;
  for await (const _ of readParquet(join(tempFiles({ 'f.parquet': bytes }), 'f.parquet'))) rows++;
  return rows;
}

it('a column that the schema lacks is refused', async () => {
  const bytes = fixture('none');
  bytes[bytes.lastIndexOf('element')] = 'E'.charCodeAt(0);
  await expect(rowsOf(bytes)).rejects.toThrow(
    /f\.parquet: damaged Parquet footer \(row group 4 has an unknown column "embedding\.list\.Element"/,
  );
});

// Vitest fails a test file in which a rejection is left unhandled.
it('an error leaves no rejection of another column unhandled', async () => {
  const bytes = fixture('none');
  bytes.fill(0x7f, bytes.indexOf('query number 0') - 4, bytes.indexOf('query number 0'));
  await expect(rowsOf(bytes)).rejects.toThrow(/f\.parquet: damaged Parquet data/);
  bytes[bytes.lastIndexOf('element')] = 'E'.charCodeAt(0);
  await expect(rowsOf(bytes)).rejects.toThrow(/f\.parquet: damaged Parquet footer/);
  await new Promise((done) => setTimeout(done, 20));
});

it('a run of 2³⁰ values in a page of 32 is refused before it is read', async () => {
  const bytes = fixture('none');
  const levels = bytes.indexOf(Buffer.from([2, 0, 0, 0, 0x40, 1])); // 32 levels that are 1
  bytes.set([6, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 8, 1], levels);
  await expect(rowsOf(bytes)).rejects.toThrow(/expected a run of at most 32, found 1,073,741,824/);
});

it.each(['none', 'snappy', 'zstd'])(
  'damaged bytes of a file (%s) give a DataError or rows',
  async (codec) => {
    const bytes = fixture(codec);
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      try {
        await rowsOf(damage(bytes, i));
      } catch (error) {
        if (!(error instanceof DataError)) throw new Error(`case ${i}`, { cause: error });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(200);
    expect(refused).toBeLessThan(300);
  },
);
