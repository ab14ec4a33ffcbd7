/**
 * Measures the quality that remains at fewer dimensions, for models trained with and without `--matryoshka`:
 *
 *     npx undrift data api-docs --out data/api-docs
 *     npx tsx bench/matryoshka.ts data/api-docs FOLDER
 *
 * Trains three seeds of each model, at about 15 s a run. Runs that are already in FOLDER are kept. Writes
 * bench/results/matryoshka.json, from which tools/docs/losses.ts makes the table of docs/losses.md.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { thisMachine } from '../src/compare/machine.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const [data, folder] = process.argv.slice(2);
if (!data || !folder) throw new Error('usage: npx tsx bench/matryoshka.ts DATA FOLDER');

const SEEDS = [1, 2, 3];
const DIMENSIONS = [256, 128, 64, 32];
const ARMS = { plain: [], matryoshka: ['--matryoshka', '128,64,32'] } as const;
const TRAIN = ['--hidden', '256', '--epochs', '4', '--eval-split', 'none', '--threads', '1'];

function undrift(...argv: string[]): Record<string, unknown> {
  const command = [
    join(root, 'node_modules/tsx/dist/cli.mjs'),
    join(root, 'src/cli/main.ts'),
    ...argv,
    '--json',
  ];
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  return JSON.parse(execFileSync(process.execPath, command, { stdio: [...stdio], encoding: 'utf8' }));
}

const results = Object.entries(ARMS).flatMap(([arm, options]) =>
  SEEDS.map((seed) => {
    const out = join(folder, `${arm}-${seed}`);
    if (!existsSync(join(out, 'model')))
      undrift('train', '--data', data, '--out', out, ...TRAIN, '--seed', String(seed), ...options);
    const ndcg = DIMENSIONS.map((dimensions) => {
      const shared = ['--data', data, '--split', 'test', '--metrics', 'ndcg@10', '--threads', '1'];
      const { metrics } = undrift('eval', '--model', out, ...shared, '--dimensions', String(dimensions));
      return (metrics as Record<string, number>)['ndcg@10']!;
    });
    return { arm, seed, ndcg };
  }),
);
const command = `undrift train --data data/api-docs ${TRAIN.join(' ')}`;
const content = {
  machine: thisMachine(),
  command,
  options: ARMS,
  dimensions: DIMENSIONS,
  metric: 'ndcg@10',
  results,
};
writeFileSync(join(root, 'bench/results/matryoshka.json'), `${JSON.stringify(content, null, 2)}\n`);
