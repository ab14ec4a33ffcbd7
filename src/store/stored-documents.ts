import { createHash } from 'node:crypto';
import { Corpus, joinTitle } from '../data/corpus.ts';
import type { GivenDocuments } from '../data/load-options.ts';
import { StringTable } from '../data/string-table.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { SpillFile } from '../util/spill-file.ts';
import type { StoreSnapshot } from './store.ts';

/** Passages of a store as the documents of a data set. */
export interface StoredDocuments extends GivenDocuments {
  /** Number of the passage of each row, ascending. */
  readonly pids: Int32Array;
}

/** Rows between two reports of progress. */
const REPORT_EVERY = 4096;

/**
 * Reads the passages of a store as documents, in the order in which they were added. Ids and an index from id to row stay in memory:
 * about 40 bytes and the id for each passage. Texts go to a file.
 *
 * @param location  name of the store, for messages
 * @param options.spill  file for the texts. Default: they stay in memory too, as UTF-8
 * @throws UsageError for a store without passages
 */
export async function readStoredDocuments(
  { passages }: StoreSnapshot,
  location: string,
  {
    spill,
    onProgress,
  }: { spill?: SpillFile | undefined; onProgress?: ((progress: Progress) => void) | undefined } = {},
): Promise<StoredDocuments> {
  const total = await passages.count();
  if (total === 0) {
    throw new UsageError(`the store ${location} holds no passage`, { help: 'index documents first' });
  }
  const pids = new Int32Array(total);
  const ids = new StringTable();
  const texts = new StringTable({ spill });
  const sum = Buffer.alloc(16);
  let count = 0;
  for await (const { pid, id, title, text, digest } of passages.texts()) {
    pids[count] = pid;
    ids.add(id);
    texts.add(joinTitle(title, text));
    // The sum of digests is that of the same passages in any order of the table.
    const own = createHash('sha256').update(`${pid}\0${id}\0${digest}`).digest();
    for (let i = 0; i < sum.length; i++) sum[i]! ^= own[i]!;
    count++;
    if (count % REPORT_EVERY === 0 || count === total)
      onProgress?.({ stage: 'read passages', done: count, total, unit: 'passages' });
  }
  const order = Uint32Array.from(pids, (_, row) => row).sort((a, b) => pids[a]! - pids[b]!);
  const corpus = new Corpus(ids.trim().rearrange(order).index(), texts.trim().rearrange(order));
  return {
    name: `the store ${location}`,
    corpus,
    fingerprint: sum.toString('hex').slice(0, 16),
    pids: Int32Array.from(order, (row) => pids[row]!),
  };
}
