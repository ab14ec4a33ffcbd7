/**
 * Makes the README's table of speed from a result file:
 *
 *     npm run --silent bench:step -- --json > bench/results/step.json
 *     npx tsx tools/docs/make-speed-table.ts
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fillBlock } from './fill-block.ts';

const FILE = 'bench/results/step.json';

interface Step {
  title: string;
  medianMs: number;
  gflop: number;
  gemmShareRatio: number;
  outsideRuntimeRatio: number;
  peakResidentBytes: number;
}

const path = fileURLToPath(new URL(`../../${FILE}`, import.meta.url));
const notMeasured = 'No result file is committed yet; `npm run bench:step` measures your machine.';
fillBlock('speed', existsSync(path) ? table(JSON.parse(readFileSync(path, 'utf8'))) : notMeasured);

function table({ threads, results }: { threads: number; results: (Step | object)[] }): string {
  const percent = (ratio: number) => `${(100 * ratio).toFixed(0)} %`;
  const rows = results
    .filter((result): result is Step => 'gemmShareRatio' in result)
    .map((r) => {
      const products =
        r.gflop > 0
          ? [`${((1000 * r.gflop) / r.medianMs).toFixed(0)}`, percent(r.gemmShareRatio)]
          : ['–', '–'];
      const cells = [r.title, r.medianMs.toFixed(1), ...products, percent(r.outsideRuntimeRatio)];
      return `| ${cells.join(' | ')} | ${(r.peakResidentBytes / 1e6).toFixed(0)} MB |`;
    });
  return [
    `Medians of \`npm run bench:step\` on ${threads} threads, from [\`${FILE}\`](${FILE}).`,
    '',
    '| training step | ms | GFLOP/s | share of the 1024³ product’s rate | outside the runtime | peak memory |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}
