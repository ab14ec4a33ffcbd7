/**
 * Fits correctors to a two-dimensional toy problem. Targets on the unit circle drift along it, with a drift
 * that depends on the place, and a corrector is fitted to a few pairs (after figure 5 of the Corrector
 * Networks paper, ICML 2024):
 *
 *     npx tsx bench/corrector/circle.ts [--config bench/corrector/circle.json] [--json]
 *
 * Writes bench/results/corrector/circle.json, from which tools/docs/correctors-circle.ts makes the table and
 * charts of docs/correctors.md. With `--json`, the results go to standard output instead.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Corrector, CorrectorKind } from '../../src/correctors/corrector.ts';
import { fitCorrector } from '../../src/correctors/fit-corrector.ts';
import { hostTensor } from '../../src/runtime/host-tensor.ts';
import {
  type CircleConfig,
  type CircleEntry,
  type CircleExample,
  type CircleResults,
  circlePoints,
  degreesOf,
  logProbabilities,
  meanDivergence,
} from './circle-toy.ts';

const { values: options } = parseArgs({
  options: {
    config: { type: 'string', default: 'bench/corrector/circle.json' },
    json: { type: 'boolean', default: false },
  },
});
const RESULT = new URL('../results/corrector/circle.json', import.meta.url);
const BIN_DEGREES = 5;

const config = JSON.parse(readFileSync(options.config, 'utf8')) as CircleConfig;

/** Corrector of the comparison. There is one `mlp` for each width. */
interface Arm {
  readonly name: string;
  readonly kind: CorrectorKind;
  readonly hidden?: number;
}
const arms: readonly Arm[] = [
  ...(['mean-shift', 'procrustes', 'ridge'] as const).map((kind) => ({ name: kind, kind })),
  ...config.widths.map((hidden) => ({ name: `mlp ${hidden}`, kind: 'mlp' as const, hidden })),
];

interface Setting {
  readonly drift: number;
  readonly noise: number;
  readonly pairs: number;
  readonly seed: number;
}

/** Fits a corrector to separate points and corrects the given ones. */
async function corrected<R>(
  { kind, hidden }: Arm,
  { pairs, ...toy }: Setting,
  stale: Float32Array<ArrayBuffer>,
  use: (corrected: Float32Array, corrector: Corrector) => R,
): Promise<R> {
  const sample = circlePoints(pairs, { ...toy, seed: 1000 + toy.seed });
  const sizes = { dimension: 2, seed: toy.seed, compute: { threads: 1 } };
  const corrector = await fitCorrector(kind, sample, { ...config.fit, ...sizes, ...(hidden && { hidden }) });
  try {
    return use(await corrector.correct(hostTensor('f32', [stale.length / 2, 2], stale)), corrector);
  } finally {
    await corrector.dispose();
  }
}

function summary(values: readonly number[]): { kl: number; sd: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  const digits = (x: number) => Number(x.toPrecision(3));
  return { kl: digits(mean), sd: digits(Math.sqrt(squares / Math.max(1, values.length - 1))) };
}

async function measure(): Promise<CircleEntry[]> {
  const entries: CircleEntry[] = [];
  for (const noise of config.noise) {
    for (const drift of config.drift) {
      const toys = config.seeds.map((seed) => ({
        seed,
        ...circlePoints(config.points, { drift, noise, seed }),
      }));
      const add = (corrector: string, pairs: number, parameters: number, kl: readonly number[]) =>
        entries.push({ corrector, drift, noise, pairs, parameters, ...summary(kl) });
      add(
        'stale',
        0,
        0,
        toys.map(({ stale, fresh }) => meanDivergence(fresh, stale, config)),
      );
      for (const pairs of config.pairs) {
        for (const arm of arms) {
          let parameters = 0;
          const kl: number[] = [];
          for (const { seed, stale, fresh } of toys) {
            await corrected(arm, { drift, noise, pairs, seed }, stale, (moved, corrector) => {
              kl.push(meanDivergence(fresh, moved, config));
              parameters = corrector.parameters;
            });
          }
          add(arm.name, pairs, parameters, kl);
        }
      }
      if (!options.json) console.error(`noise ${noise}, drift ${drift}: done`);
    }
  }
  return entries;
}

async function example(): Promise<CircleExample> {
  const { shown, width, queryDegrees, ...rest } = config.example;
  const setting = { ...rest, seed: config.seeds[0]! };
  const { stale, fresh } = circlePoints(config.points, setting);
  const found: Record<string, Float32Array> = { stale };
  for (const arm of arms) {
    if (arm.kind === 'ridge' || arm.hidden === width)
      found[arm.name] = await corrected(arm, setting, stale, (moved) => moved.slice());
  }
  const tenths = (points: Float32Array) => degreesOf(points).map((x) => Math.round(10 * x) / 10);
  const angles = degreesOf(fresh);
  const angle = (queryDegrees * Math.PI) / 180;
  const distribution = Object.entries({ fresh, ...found }).map(([name, points]) => {
    const bins = new Array<number>(360 / BIN_DEGREES).fill(0);
    const logs = logProbabilities(points, angle, config.inverseTemperature);
    for (const [i, log] of logs.entries()) bins[Math.floor(angles[i]! / BIN_DEGREES)]! += Math.exp(log);
    return [name, bins.map((p) => Number(p.toFixed(5)))] as const;
  });
  const part = (points: Float32Array) => tenths(points.subarray(0, 2 * shown));
  const { stale: _, ...moved } = found;
  return {
    stale: part(stale),
    fresh: part(fresh),
    corrected: Object.fromEntries(Object.entries(moved).map(([name, points]) => [name, part(points)])),
    distribution: Object.fromEntries(distribution),
  };
}

const results: CircleResults = { config, entries: await measure(), example: await example() };
if (options.json) {
  console.log(JSON.stringify(results, null, 1));
} else {
  const lines = results.entries.map((entry) => JSON.stringify(entry));
  mkdirSync(new URL('.', RESULT), { recursive: true });
  writeFileSync(
    RESULT,
    `{"config":${JSON.stringify(config)},\n"entries":[\n${lines.join(',\n')}\n],\n"example":${JSON.stringify(results.example)}}\n`,
  );
}
