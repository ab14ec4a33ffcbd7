/**
 * Measures searches over a corpus of which a part has been embedded by a new model, and the rest is found by vectors of the old
 * model that a corrector has moved:
 *
 *     npx undrift encode --model OLD --data DATA --out old.npy
 *     npx undrift encode --model NEW --data DATA --out new.npy
 *     npx tsx bench/corrector/migration.ts --name NAME --data DATA --from OLD --to NEW \
 *       --old-vectors old.npy --new-vectors new.npy [--limit-queries 1000]
 *
 * The corrector is chosen and fitted as `undrift migrate start` does. Each seed draws its own sample, and its own order of the
 * backfill. At 0 % every document is moved, those of the sample too, so that no result contains a vector of the new model.
 * Results are added to bench/results/corrector/migration.json, from which tools/docs/migration.ts makes docs/migration.md.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { loadData } from '../../src/data/load.ts';
import { evaluate } from '../../src/eval/metrics.ts';
import { type Run, rankDocuments, sharedBest } from '../../src/eval/ranking.ts';
import { readNpy } from '../../src/io/npy.ts';
import { chooseCorrector } from '../../src/migration/choose-corrector.ts';
import { loadRetriever } from '../../src/models/folder/open-retriever.ts';
import { encodeCorpus } from '../../src/retrieval/encode-corpus.ts';
import { retrievalTask } from '../../src/retrieval/retrieve.ts';
import { hostTensor } from '../../src/runtime/host-tensor.ts';
import { ExactIndex } from '../../src/search/exact-search.ts';
import { spaceOf } from '../../src/store/store.ts';
import { permutation, rngKey } from '../../src/util/rng.ts';
import { pickRows } from '../../src/util/vector-rows.ts';
import type { LazyRefresh, MigrationEntry, MigrationPoint, MigrationResults } from './migration-results.ts';

const { values: options } = parseArgs({
  options: {
    name: { type: 'string' },
    data: { type: 'string' },
    split: { type: 'string', default: 'test' },
    from: { type: 'string' },
    to: { type: 'string' },
    'old-vectors': { type: 'string' },
    'new-vectors': { type: 'string' },
    'limit-queries': { type: 'string', default: '1000' },
  },
});
const given = (name: 'name' | 'data' | 'from' | 'to' | 'old-vectors' | 'new-vectors'): string => {
  const value = options[name];
  if (value === undefined) throw new Error(`--${name} is missing`);
  return value;
};

const SEEDS = [0, 1, 2];
const SHARES = [0, 0.1, 0.5];
/** Sample of the measurements at all shares; the default of `undrift migrate start`. */
const SAMPLE = 2000;
const OTHER_SAMPLES = [200, 500, 1000];
const METRIC = 'ndcg@10';

const data = await loadData(given('data'), { splits: [options.split] });
const task = retrievalTask(data, options.split, { limitQueries: Number(options['limit-queries']) });
const N = data.corpus.size;

/** Reads the vectors of a model and embeds the queries of the split by it. */
async function embedded(model: string, vectors: string) {
  const retriever = await loadRetriever(model);
  const queries = await encodeCorpus(retriever, 'query', data.queries, { rows: task.queryRows });
  const documents = (await readNpy(vectors)).data as Float32Array<ArrayBuffer>;
  const D = retriever.dimension;
  if (documents.length !== N * D) throw new Error(`${vectors} does not hold ${N} vectors of size ${D}`);
  const space = spaceOf(retriever, model);
  await retriever.dispose();
  return { queries, documents, D, space };
}
const old = await embedded(given('from'), given('old-vectors'));
const fresh = await embedded(given('to'), given('new-vectors'));

async function search(queries: Float32Array, documents: Float32Array, D: number): Promise<Run> {
  const index = ExactIndex.create(documents, D);
  const { rows, scores, k } = await index.search(queries, Math.min(100, documents.length / D));
  await index.dispose();
  return new Map(
    Array.from(task.queryRows, (row, i) => {
      const found = Array.from(rows.subarray(i * k, (i + 1) * k), (document, rank) => ({
        docId: data.corpus.id(document),
        score: scores[i * k + rank]!,
      }));
      return [data.queries.id(row), rankDocuments(found)];
    }),
  );
}

/** Metric over the queries, or over some of them. */
function quality(run: Run, some?: ReadonlySet<string>): number {
  const qrels = new Map([...task.qrels].filter(([id]) => some === undefined || some.has(id)));
  return evaluate(qrels, run, { metrics: [METRIC] }).metrics[METRIC]!;
}

const full = await search(fresh.queries, fresh.documents, fresh.D);
const before = await search(old.queries, old.documents, old.D);
const sameSize = old.D === fresh.D;

/** Searches documents of which some are fresh and the others are those given. */
async function searchMixed(others: Float32Array, freshRows: Iterable<number>): Promise<Run> {
  const documents = others.slice();
  for (const row of freshRows) {
    const [start, end] = [row * fresh.D, (row + 1) * fresh.D];
    documents.set(fresh.documents.subarray(start, end), start);
  }
  return await search(fresh.queries, documents, fresh.D);
}

/** Draws a share of the documents. */
const drawn = (seed: number, share: number): Uint32Array =>
  permutation(rngKey(seed, 0, 'bench/backfill'), N).subarray(0, Math.round(share * N));

async function mixed(others: Float32Array, seed: number, share: number): Promise<MigrationPoint> {
  const run = await searchMixed(others, drawn(seed, share));
  return { seed, share, quality: quality(run), overlap: sharedBest(full, run, 10) };
}

/**
 * Lets one half of the queries search, embeds the documents that are among their 10 best by the new model, and measures the other
 * half; beside it, with as many documents drawn at random.
 */
async function lazy(moved: Float32Array, seed: number): Promise<LazyRefresh> {
  const ids = Array.from(task.queryRows, (row) => data.queries.id(row));
  const order = permutation(rngKey(seed, 0, 'bench/traffic'), ids.length);
  const half = Math.floor(ids.length / 2);
  const traffic = Array.from(order.subarray(0, half), (i) => ids[i]!);
  const others = new Set(Array.from(order.subarray(half), (i) => ids[i]!));
  const before = await searchMixed(moved, []);
  const met = new Set(
    traffic.flatMap((id) =>
      before
        .get(id)!
        .slice(0, 10)
        .map(({ docId }) => data.corpus.row(docId)!),
    ),
  );
  const share = met.size / N;
  return {
    seed,
    share,
    before: quality(before, others),
    met: quality(await searchMixed(moved, met), others),
    random: quality(await searchMixed(moved, drawn(seed, share)), others),
    full: quality(full, others),
  };
}

async function corrected(seed: number, sample: number, shares: readonly number[]) {
  const rows = permutation(rngKey(seed, 0, 'bench/sample'), N)
    .subarray(0, sample)
    .sort();
  const pairs = {
    pids: Int32Array.from(rows),
    stale: pickRows(old.documents, old.D, rows),
    fresh: pickRows(fresh.documents, fresh.D, rows),
    passagesPerSecond: Number.NaN,
    cpuSecondsPerPassage: Number.NaN,
  };
  const { corrector, kind, heldOutError, staleError } = await chooseCorrector(pairs, old.space, fresh.space, {
    seed,
  });
  const moved = await corrector.correct(hostTensor('f32', [N, old.D], old.documents));
  await corrector.dispose();
  const points: MigrationPoint[] = [];
  for (const share of shares) points.push(await mixed(moved, seed, share));
  return { kind, heldOutError, staleError, points, moved };
}

const atSample = [];
const lazily: LazyRefresh[] = [];
for (const seed of SEEDS) {
  const { moved, ...fitted } = await corrected(seed, SAMPLE, SHARES);
  atSample.push(fitted);
  lazily.push(await lazy(moved, seed));
  console.error(`${given('name')}: seed ${seed}, ${JSON.stringify([fitted, lazily.at(-1)])}`);
}
const samples = [];
for (const sample of OTHER_SAMPLES.filter((size) => size < N)) {
  for (const seed of SEEDS) {
    const { kind, points } = await corrected(seed, sample, [0]);
    samples.push({ sample, kind, ...points[0]! });
  }
}
const stale: MigrationPoint[] = [];
const missing: MigrationPoint[] = [];
for (const seed of SEEDS) {
  for (const share of SHARES) {
    if (sameSize) stale.push(await mixed(old.documents, seed, share));
    // A vector of zeros scores 0, which is below any passage that answers.
    if (share > 0) missing.push(await mixed(new Float32Array(fresh.documents.length), seed, share));
  }
}
const entry: MigrationEntry = {
  name: given('name'),
  data: data.name,
  documents: N,
  queries: task.queryRows.length,
  sample: SAMPLE,
  old: quality(before),
  full: quality(full),
  overlapOld: sharedBest(full, before, 10),
  kinds: atSample.map(({ kind }) => kind),
  heldOutError: atSample.map(({ heldOutError }) => heldOutError),
  staleError: sameSize ? atSample[0]!.staleError : null,
  corrected: atSample.flatMap(({ points }) => points),
  samples,
  lazy: lazily,
  stale,
  missing,
};

const file = fileURLToPath(new URL('../results/corrector/migration.json', import.meta.url));
const former: MigrationResults = existsSync(file)
  ? JSON.parse(readFileSync(file, 'utf8'))
  : { machine: thisMachine(), metric: METRIC, entries: [] };
const entries = [...former.entries.filter(({ name }) => name !== entry.name), entry];
entries.sort((a, b) => a.name.localeCompare(b.name));
writeFileSync(file, `${JSON.stringify({ ...former, entries })}\n`);
