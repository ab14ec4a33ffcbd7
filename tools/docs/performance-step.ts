/**
 * @file Makes the tables of docs/performance.md on training steps, encoding and fine-tuning beside other libraries, and the table of
 * README.md on steps, from bench/results/step.json and peers-….json:
 *
 *     npm run bench:all -- --only step,peers
 */
import type { SideSummary } from '../../bench/comparison.ts';
import type { StepResult } from '../../bench/measure-step.ts';
import type { PeersResult } from '../../bench/peers.ts';
import type { Machine } from '../../bench/result-file.ts';
import { markdownTable as table } from './page.ts';
import {
  besideOurs,
  measured,
  megabytes,
  ms,
  NOT_MEASURED,
  origin,
  percent,
  sideName,
  spread,
} from './performance-parts.ts';

type StepResults = Machine & { readonly results: readonly (StepResult | object)[] };
type PeersResults = Machine & { readonly results: readonly PeersResult[] };

const isStep = (result: StepResult | object): result is StepResult => 'gemmShareRatio' in result;

/** Cells of a step on matrix products: its rate, and the share of the rate of one large product. */
const productCells = (r: StepResult): string[] =>
  r.gflop > 0 ? [((1000 * r.gflop) / r.medianMs).toFixed(0), percent(r.gemmShareRatio)] : ['–', '–'];

/** Short table of README.md. */
export function stepSummary(): string {
  const found = measured<StepResults>('step');
  if (!found) return 'No result file is committed yet; `npm run bench:step` measures your machine.';
  const file = 'bench/results/step.json';
  return [
    `Medians of \`npm run bench:step\` on ${found.threads} threads, from [\`${file}\`](${file}). More in [docs/performance.md](docs/performance.md).`,
    '',
    table(
      [
        ...['training step', 'ms', 'GFLOP/s', 'share of the 1024³ product’s rate'],
        ...['outside the runtime', 'peak memory'],
      ],
      found.results
        .filter(isStep)
        .map((r) => [
          ...[r.title, r.medianMs.toFixed(1), ...productCells(r)],
          ...[percent(r.outsideRuntimeRatio), megabytes(r.peakResidentBytes)],
        ]),
    ),
  ].join('\n');
}

/** Blocks of docs/performance.md on steps and other libraries. */
export const stepBlocks = (): Record<string, string> => ({
  step: stepTable(),
  'peers-step': comparison('peers-step', 'a step, ms', (side) => spread(side, 'medianMs', ms)),
  'peers-encode': comparison('peers-encode', 'texts a second', (side, { rates }) =>
    (rates?.[side.name] ?? 0).toFixed(1),
  ),
  'peers-train': comparison('peers-train', 'a step, ms', (side) => spread(side, 'medianMs', ms)),
});

function stepTable(): string {
  const found = measured<StepResults>('step');
  if (!found) return NOT_MEASURED;
  return [
    table(
      [
        ...['step', 'ms (quartiles)', 'best, ms', 'GFLOP/s', 'share of the product', 'best over best'],
        ...['outside the runtime', 'peak memory'],
      ],
      found.results
        .filter(isStep)
        .map((r) => [
          ...[r.title, spread(r, 'medianMs', ms), ms(r.minMs), ...productCells(r)],
          ...[r.gflop > 0 ? percent(r.bestGemmShareRatio) : '–', percent(r.outsideRuntimeRatio)],
          megabytes(r.peakResidentBytes),
        ]),
    ),
    '',
    origin(found, 'step'),
  ].join('\n');
}

function comparison(
  name: string,
  head: string,
  cell: (side: SideSummary, result: PeersResult) => string,
): string {
  const found = measured<PeersResults>(name);
  if (!found) return NOT_MEASURED;
  const versions = found.results.flatMap(({ sides }) => sides.slice(1).map(({ version }) => version));
  return [
    table(
      ['', '', head, 'time, × ours (rounds)', 'peak memory', '× ours'],
      found.results.flatMap((result) =>
        result.sides.map((side, i) => {
          const { time, memory } = besideOurs(side, i);
          const own = [sideName(side), cell(side, result), time, megabytes(side.peakResidentBytes), memory];
          return [i === 0 ? result.title : '', ...own];
        }),
      ),
    ),
    '',
    origin(found, name, [...new Set(versions)]),
  ].join('\n');
}
