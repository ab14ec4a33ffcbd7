/**
 * Measures how much of the error of stale embeddings remains after a corrector is fitted to a few pairs, over
 * the snapshots of one training run:
 *
 *     npx undrift data api-docs --out data/api-docs
 *     npx tsx bench/corrector/snapshots.ts --config bench/corrector/snapshots.json [--threads 1] [--reuse]
 *
 * Trains a retriever, and embeds all documents and some held-out queries with the weights of several steps.
 * Fits correctors from the embeddings of the first step to those of each later one. Measures KL(P ‖ P_stale)
 * and KL(P ‖ P_corrected) over all documents. With `--reuse`, the weights and measurements kept by the last
 * call are used again.
 *
 * The result file goes to `bench/results/corrector/`. From it, `tools/docs/correctors-snapshots.ts` makes
 * tables and charts.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { CorrectorKind } from '../../src/correctors/corrector.ts';
import { fitCorrector } from '../../src/correctors/fit-corrector.ts';
import { hostTensor } from '../../src/runtime/host-tensor.ts';
import { permutation, rngKey } from '../../src/util/rng.ts';
import { pickRows } from '../../src/util/vector-rows.ts';
import { DistributionErrors } from './distribution-error.ts';
import type { Fitted, SnapshotConfig, SnapshotFact, SnapshotResults } from './snapshot-config.ts';
import { type Snapshot, trainSnapshots } from './train-snapshots.ts';

const { values: options } = parseArgs({
  options: {
    config: { type: 'string', default: 'bench/corrector/snapshots.json' },
    threads: { type: 'string', default: '1' },
    reuse: { type: 'boolean', default: false },
  },
});
const file = resolve(options.config);
const config = JSON.parse(readFileSync(file, 'utf8')) as SnapshotConfig;
const beside = (path: string) => resolve(dirname(file), path);
const { model = '' } = config.train;
const training = { ...config.train, ...(model.startsWith('.') && { model: beside(model) }) };
const compute = { threads: Number(options.threads) };
const { samples, correctors, regimes, train } = config;
const seed = train.seed ?? 0;

const startMs = performance.now();
const elapsed = () => `${((performance.now() - startMs) / 1000).toFixed(0)} s`;
const paths = { data: beside(config.data), run: beside(config.run), reuse: options.reuse };
const {
  snapshots,
  dimension: D,
  inverseTemperature,
} = await trainSnapshots({ ...config, train: training }, paths, compute);
const [first, ...later] = snapshots as [Snapshot, ...Snapshot[]];
const N = first.documents.length / D;
console.log(`${N} documents embedded by ${snapshots.length} snapshots, ${elapsed()}`);

/** Order of the documents. Each sample is a prefix of it, so smaller samples are contained in larger ones. */
const order = permutation(rngKey(seed, 0, 'corrector sample'), N);
const errors = await DistributionErrors.create(D, compute);
const scaled = new Map(later.map(({ step, queries }) => [step, queries.map((x) => inverseTemperature * x)]));
const digits = (value: number) => Number(value.toPrecision(4));

async function stale({ step, documents }: Snapshot): Promise<SnapshotFact> {
  const { kl, recall } = await errors.measure(scaled.get(step)!, documents, first.documents);
  const distance = digits(distanceOf(first.documents, documents, order));
  return { step, distance, kl: digits(kl), recall: digits(recall) };
}

/**
 * Fits a corrector and measures it, unless it is known already.
 *
 * @param own  options that differ from those of the config
 */
async function fit(
  { step, documents }: Snapshot,
  corrector: CorrectorKind,
  sample: number,
  own: { hidden?: number; ridge?: number } = {},
): Promise<Fitted> {
  const before = known.get(keyOf({ step, corrector, sample, ...own }));
  if (before) return before;
  const rows = order.subarray(0, sample);
  const pairs = { stale: pickRows(first.documents, D, rows), fresh: pickRows(documents, D, rows) };
  const made = await fitCorrector(corrector, pairs, {
    dimension: D,
    seed,
    compute,
    ridge: config.ridge,
    ...own,
  });
  const moved = await made.correct(hostTensor('f32', [N, D], first.documents));
  const { parameters } = made;
  await made.dispose();
  const { kl, recall } = await errors.measure(scaled.get(step)!, documents, moved);
  const error = digits(distanceOf(moved, documents, order.subarray(sample)));
  return { step, corrector, ...own, parameters, sample, error, kl: digits(kl), recall: digits(recall) };
}

const out = beside(config.result);
const known = earlier();
const results: SnapshotResults = {
  name: config.name,
  machine: `${cpus()[0]?.model.trim()}, ${options.threads} thread${options.threads === '1' ? '' : 's'}`,
  config,
  documents: N,
  queries: first.queries.length / D,
  dimension: D,
  inverseTemperature,
  stale: [],
  fitted: [],
  regimes: Object.fromEntries(Object.keys(regimes.snapshots).map((name) => [name, []])),
};
mkdirSync(dirname(out), { recursive: true });
const write = () => writeFileSync(out, `${JSON.stringify(results)}\n`);

for (const snapshot of later) {
  const fact = await stale(snapshot);
  results.stale.push(fact);
  for (const kind of correctors)
    for (const sample of samples) results.fitted.push(await fit(snapshot, kind, sample));
  write();
  const shown = results.fitted.filter(
    ({ step, sample }) => step === snapshot.step && sample === samples.at(-1),
  );
  console.log(
    `step ${snapshot.step}: stale ${fact.kl}, ${shown.map(({ corrector, kl }) => `${corrector} ${kl}`).join(', ')}; ${elapsed()}`,
  );
}
for (const [name, step] of Object.entries(regimes.snapshots)) {
  const snapshot = later.find((one) => one.step === step);
  if (!snapshot) throw new Error(`${file}: regime ${name} names step ${step}, which is no snapshot`);
  const grid = results.regimes[name]!;
  for (const sample of regimes.samples) {
    for (const kind of correctors) if (kind !== 'mlp') grid.push(await fit(snapshot, kind, sample));
    for (const ridge of regimes.ridges) grid.push(await fit(snapshot, 'ridge', sample, { ridge }));
    for (const hidden of regimes.widths) grid.push(await fit(snapshot, 'mlp', sample, { hidden }));
    write();
    console.log(`${name}, ${sample} pairs: ${elapsed()}`);
  }
}
await errors.dispose();
console.log(`${out}, ${elapsed()}`);

/** Reads the results that an earlier call measured with the same weights. */
function earlier(): Map<string, Fitted> {
  if (!options.reuse || !existsSync(out)) return new Map();
  const { config: its, fitted, regimes: grids } = JSON.parse(readFileSync(out, 'utf8')) as SnapshotResults;
  const isSame = ['train', 'first', 'split', 'queries', 'ridge'].every(
    (name) =>
      JSON.stringify(its[name as keyof SnapshotConfig]) ===
      JSON.stringify(config[name as keyof SnapshotConfig]),
  );
  const all = isSame ? [...fitted, ...Object.values(grids).flat()] : [];
  return new Map(all.map((one) => [keyOf(one), one]));
}

function keyOf({
  step,
  corrector,
  sample,
  hidden,
  ridge,
}: Omit<Fitted, 'parameters' | 'error' | 'kl' | 'recall'>): string {
  return JSON.stringify([step, corrector, sample, hidden, ridge]);
}

/** Computes the mean ‖a − b‖² over some rows. */
function distanceOf(a: Float32Array, b: Float32Array, rows: Uint32Array): number {
  let total = 0;
  for (const row of rows) for (let i = row * D; i < (row + 1) * D; i++) total += (a[i]! - b[i]!) ** 2;
  return total / rows.length;
}
