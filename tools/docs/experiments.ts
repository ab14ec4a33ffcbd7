/**
 * @file Makes the tables and charts of docs/experiments.md from the result files in bench/results/quality/.
 *
 * Run as a program, it first copies results of `undrift compare` there, without their curves:
 *
 *     npx tsx tools/docs/experiments.ts --take runs/loss-forms/results.json --take …
 *
 * `--without-times` leaves out the times of these results, for runs that shared the machine with other work.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readResults } from '../../src/compare/results.ts';
import { EXPERIMENTS, experimentBlock } from './experiment-blocks.ts';
import { withoutCurves, withoutTimes } from './experiment-results.ts';
import { filesOf, inRepository, type MadePage, NOT_MEASURED, writeFiles } from './page.ts';

const fileOf = (name: string): URL => inRepository(`bench/results/quality/${name}.json`);

/** Makes the generated parts of docs/experiments.md. */
export async function experimentsPage(): Promise<MadePage> {
  const blocks: Record<string, string> = {};
  const charts: Record<string, string> = {};
  for (const name of Object.keys(EXPERIMENTS)) {
    blocks[name] = NOT_MEASURED;
    if (!existsSync(fileOf(name))) continue;
    const { markdown, chart } = experimentBlock(await readResults(fileURLToPath(fileOf(name))));
    blocks[name] = markdown;
    if (chart) charts[`docs/experiments/${chart.file}`] = chart.svg;
  }
  return { page: 'docs/experiments.md', blocks, charts };
}

async function takeIn(): Promise<void> {
  const { values } = parseArgs({
    options: {
      take: { type: 'string', multiple: true, default: [] },
      'without-times': { type: 'boolean', default: false },
    },
  });
  for (const file of values.take) {
    const results = await readResults(file);
    if (!(results.name in EXPERIMENTS)) throw new Error(`${file}: no experiment is called "${results.name}"`);
    const kept = JSON.stringify(withoutCurves(values['without-times'] ? withoutTimes(results) : results));
    const [, path] = /"(\/[^"]*)"/.exec(kept) ?? [];
    if (path) throw new Error(`${file} names ${path}: run the comparison from a config with relative paths`);
    writeFileSync(fileOf(results.name), `${kept}\n`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await takeIn();
  writeFiles(filesOf(await experimentsPage()));
}
