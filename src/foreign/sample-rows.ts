import { joinTitle } from '../data/corpus.ts';
import { embedTimed, type MigrationOptions, type Sample } from '../migration/choose-corrector.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { spaceOf } from '../store/store.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { rngKey, uniform } from '../util/rng.ts';
import { pages, placeOf, spaceIn, unitVectors } from './store-state.ts';
import type { VectorRow, VectorStore, VectorStoreFacts, VectorStoreState } from './vector-store.ts';

/** Origin of the original vectors of a database, which only its owner knows. */
export interface OriginalModel {
  /** Model that made the original vectors. It is compared with them on some rows. */
  readonly from?: Retriever | undefined;
  /** Name of this model, to be shown to users. Default `(memory)`. */
  readonly fromModel?: string | undefined;
  /** Name for the space of the original vectors, in place of `from`, where the model is not at hand. */
  readonly fromSpace?: string | undefined;
}

/** Sampled rows with their vectors of both models. */
export interface RowSample extends Sample {
  /** The rows. */
  readonly rows: readonly VectorRow[];
}

/** Ids of one page of the scan that samples are drawn from. */
const SCAN_ROWS = 20_000;
const DEFAULT_SAMPLE = 2000;
/** Rows whose original vectors are compared with those of the model that is said to have made them. */
const COMPARED_ROWS = 32;
/** Median cosine from which on original vectors are those of a model; half precision gives 0.999. */
const SAME_VECTOR = 0.99;

/** Text of a row as it is embedded. */
export const textOf = ({ title, text }: VectorRow): string => joinTitle(title, text ?? '');

/**
 * Returns the space of the vectors that searches use at present.
 *
 * @throws UsageError if the database has no vectors, or nothing says which model made them
 */
export function presentSpace(
  store: VectorStore,
  state: VectorStoreState,
  { original }: VectorStoreFacts,
  { from, fromModel = '(memory)', fromSpace }: OriginalModel,
): StoredSpace {
  const named = from ? embeddingSpaceId(from) : fromSpace;
  const known = spaceIn(state, state.current);
  if (known) {
    if (named === undefined || named === known.id) return known;
    throw new UsageError(`the vectors of ${store.name} are of the space ${known.id}, not of ${named}`, {
      help: `leave ${option('from')} and ${option('fromSpace')} out: they are needed before the first migration only`,
    });
  }
  if (!original || original.rows === 0) {
    throw new UsageError(`${store.name} has no vectors yet`, {
      help: 'embed its texts: undrift index --store STORE --model MODEL',
    });
  }
  const { dimension } = original;
  if (from && from.dimension !== dimension) {
    throw new UsageError(
      `the vectors of ${store.name} have ${dimension} dimensions, those of ${option('from')} have ${from.dimension}`,
      { help: `name the model that made them as ${option('from')}` },
    );
  }
  if (from) return spaceOf(from, fromModel);
  if (fromSpace !== undefined)
    return { id: fromSpace, dimension, model: fromSpace, steps: 0, added: Date.now() };
  throw new UsageError(`nothing says which model made the vectors of ${store.name}`, {
    help: `name it as ${option('from')}; if it is not at hand, give its vectors a name by ${option('fromSpace')}`,
  });
}

/**
 * Embeds a random sample of the rows that have a text and a vector. The sample is a function of the seed and of the ids.
 *
 * @throws UsageError if no row has both, or original vectors are not of the model that is said to have made them
 */
export async function sampleRows(
  store: VectorStore,
  state: VectorStoreState,
  present: StoredSpace,
  {
    to,
    from,
    sample = DEFAULT_SAMPLE,
    seed = 0,
    onProgress,
    device,
    threads,
  }: MigrationOptions & OriginalModel & { to: Retriever },
): Promise<RowSample> {
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  // Before the first migration, the state does not name the original vectors.
  const space = placeOf({ ...state, original: state.original ?? present }, present.id);
  const found: VectorRow[] = [];
  const ids = await drawIds(store, sample, seed);
  for (let start = 0; start < ids.length; start += SCAN_ROWS) {
    const part = ids.slice(start, start + SCAN_ROWS);
    found.push(...(await store.read({ space, texts: true, after: null, limit: part.length, ids: part })));
  }
  const withText = found.filter(({ text }) => text !== null);
  const { rows, vectors: stale } = unitVectors(withText, present, store);
  if (rows.length === 0)
    throw new UsageError(`no row of the sample of ${store.name} has a text and a vector`);
  if (from && !state.current) await checkMadeBy(from, { rows, stale, store, compute });
  const embedded = await embedTimed(to, rows.map(textOf), { onProgress, ...compute });
  const pids = Int32Array.from(rows.keys());
  return { rows, pids, stale, ...embedded };
}

/** Draws ids without replacement: those of the smallest random numbers, each of which is a function of seed and id. */
async function drawIds(store: VectorStore, count: number, seed: number): Promise<string[]> {
  let drawn: { id: string; number: number }[] = [];
  const number = new Float32Array(2);
  const keepSmallest = () => {
    drawn = drawn.sort((a, b) => a.number - b.number || (a.id < b.id ? -1 : 1)).slice(0, count);
  };
  for await (const rows of pages(store, { space: null, texts: false }, SCAN_ROWS)) {
    for (const { id } of rows) {
      uniform(rngKey(seed, 0, `migration/row ${id}`), number);
      // Two numbers of 23 bits, so that equal ones are rare.
      drawn.push({ id, number: number[0]! + number[1]! * 2 ** -24 });
    }
    keepSmallest();
  }
  return drawn.map(({ id }) => id);
}

/** @throws UsageError if the original vectors of some rows are not those that a model gives for their texts */
async function checkMadeBy(
  from: Retriever,
  {
    rows,
    stale,
    store,
    compute,
  }: Pick<RowSample, 'rows' | 'stale'> & { store: VectorStore; compute: object },
): Promise<void> {
  const compared = rows.slice(0, COMPARED_ROWS);
  const own = await from.encode('document', compared.map(textOf), compute);
  const D = from.dimension;
  const cosines = compared.map((_, row) => {
    let [product, square] = [0, 0];
    for (let i = row * D; i < (row + 1) * D; i++) {
      product += own[i]! * stale[i]!;
      square += own[i]! ** 2;
    }
    return product / Math.sqrt(square);
  });
  const median = cosines.sort((a, b) => a - b)[cosines.length >> 1]!;
  if (median >= SAME_VECTOR) return;
  throw new UsageError(
    `the vectors of ${store.name} are not those of the model ${option('from')}: their median cosine is ${median.toFixed(3)} over ${compared.length} rows`,
    {
      help: `name the model that made them; check the columns of title and text, and prompts; or give the vectors a name by ${option('fromSpace')}`,
    },
  );
}
