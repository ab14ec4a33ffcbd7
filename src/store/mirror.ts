import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { DigestSet } from '../data/digest-set.ts';
import { UsageError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { optionalJson } from '../util/json-objects.ts';
import { option } from '../util/option-name.ts';
import { removePassages } from './maintain.ts';
import type { PassageInput } from './passage-input.ts';
import type { Store } from './store.ts';

/** File of the folder whose documents a store mirrors. */
const SOURCE = 'source.json';
/** Passages that one commit removes. */
const PART = 10_000;

/**
 * Makes a store the mirror of a source: passages whose documents the source no longer has may be removed from it.
 *
 * @returns  whether it is one; false for a store that has passages of unknown origin, such as those of `undrift index`
 * @throws UsageError if the store mirrors another source
 */
export async function claimSource(store: Store, source: string): Promise<boolean> {
  const { files } = store;
  const own = pathOf(source);
  const known = (await files.has(SOURCE))
    ? (await optionalJson(await files.open(SOURCE)))?.source
    : undefined;
  if (known === own) return true;
  if (known !== undefined) {
    throw new UsageError(`the store ${store.folder} has the documents of ${known}`, {
      help: `name another ${option('store')} for those of ${source}`,
    });
  }
  if ((await (await store.snapshot()).passages.count()) > 0) return false;
  await files.save(SOURCE, (path) => writeFileAtomic(path, `${JSON.stringify({ source: own })}\n`));
  return true;
}

/** Path of a source without links; the name itself for a source that is no path, such as a data set of the hub. */
function pathOf(source: string): string {
  try {
    return realpathSync(resolve(source));
  } catch {
    return source;
  }
}

/** Passages of a stream, whose ids are kept as digests of 15 to 24 bytes. */
export class SeenPassages {
  private readonly ids = new DigestSet();

  /** Passes passages on. */
  async *watch(passages: AsyncIterable<PassageInput>): AsyncGenerator<PassageInput> {
    for await (const passage of passages) {
      this.ids.add(passage.id);
      yield passage;
    }
  }

  /** Removes the passages of a store that were not seen, and returns their number. */
  async removeOthers(store: Store): Promise<number> {
    const { passages } = await store.snapshot();
    let removed = 0;
    let others: string[] = [];
    for await (const { id } of passages.ids()) {
      if (!this.ids.has(id)) others.push(id);
      if (others.length < PART) continue;
      removed += await removePassages(store, others);
      others = [];
    }
    if (others.length > 0) removed += await removePassages(store, others);
    return removed;
  }
}
