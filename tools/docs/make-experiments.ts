/**
 * Makes the tables and charts of docs/experiments.md from the result files in bench/results/quality/:
 *
 *     npx tsx tools/docs/make-experiments.ts
 *
 * First takes in results of `undrift compare`, without their curves:
 *
 *     npx tsx tools/docs/make-experiments.ts --take runs/loss-forms/results.json --take …
 *
 * `--without-times` leaves out the times of what is taken in, where runs shared the machine with other work.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readResults } from '../../src/compare/results.ts';
import { EXPERIMENTS, experimentBlock } from './experiment-blocks.ts';
import { withoutCurves, withoutTimes } from './experiment-results.ts';
import { fillBlock } from './fill-block.ts';

const STORE = new URL('../../bench/results/quality/', import.meta.url);
const CHARTS = new URL('../../docs/experiments/', import.meta.url);
const PAGE = new URL('../../docs/experiments.md', import.meta.url);

const { values } = parseArgs({
  options: {
    take: { type: 'string', multiple: true, default: [] },
    'without-times': { type: 'boolean', default: false },
  },
});
for (const folder of [STORE, CHARTS]) mkdirSync(folder, { recursive: true });
for (const file of values.take) {
  const results = await readResults(file);
  if (!(results.name in EXPERIMENTS)) throw new Error(`${file}: no experiment is called "${results.name}"`);
  const kept = withoutCurves(values['without-times'] ? withoutTimes(results) : results);
  writeFileSync(new URL(`${results.name}.json`, STORE), `${JSON.stringify(kept)}\n`);
}
for (const name of Object.keys(EXPERIMENTS)) {
  const file = new URL(`${name}.json`, STORE);
  if (!existsSync(file)) {
    fillBlock(name, '*Not measured yet.*', PAGE);
    continue;
  }
  const { markdown, chart } = experimentBlock(await readResults(fileURLToPath(file)));
  fillBlock(name, markdown, PAGE);
  if (chart) writeFileSync(new URL(chart.file, CHARTS), chart.svg);
  console.log(`${name}: ${chart ? `table and ${chart.file}` : 'table'}`);
}
