/** Fills the table of docs/losses.md from bench/results/matryoshka.json:  npx tsx tools/docs/make-losses.ts */
import { readFileSync } from 'node:fs';
import { spread } from '../../src/compare/statistics.ts';
import { fillBlock } from './fill-block.ts';

interface Results {
  command: string;
  options: Record<string, string[]>;
  dimensions: number[];
  results: { arm: string; seed: number; ndcg: number[] }[];
}

const file = new URL('../../bench/results/matryoshka.json', import.meta.url);
const { command, options, dimensions, results } = JSON.parse(readFileSync(file, 'utf8')) as Results;
const arms = [...new Set(results.map(({ arm }) => arm))];
const cell = (arm: string, i: number) => {
  const { mean, sd } = spread(results.filter((run) => run.arm === arm).map(({ ndcg }) => ndcg[i]!));
  return `${mean.toFixed(3)} ± ${sd!.toFixed(3)}`;
};
const rows = [
  ['', ...dimensions.map((D, i) => (i === 0 ? `${D}, all` : String(D)))],
  ['---', ...dimensions.map(() => '---')],
  ...arms.map((arm) => [
    options[arm]!.length > 0 ? `\`${options[arm]!.join(' ')}\`` : 'without',
    ...dimensions.map((_, i) => cell(arm, i)),
  ]),
];
const seeds = new Set(results.map(({ seed }) => seed)).size;
fillBlock(
  'matryoshka',
  `${rows.map((row) => `| ${row.join(' | ')} |`).join('\n')}

nDCG@10 of the test split at so many dimensions (\`undrift eval --split test --dimensions N\`), mean and standard deviation over ${seeds} seeds of
\`${command}\`. From [\`bench/results/matryoshka.json\`](../bench/results/matryoshka.json), made by
[\`bench/matryoshka.ts\`](../bench/matryoshka.ts).`,
  new URL('../../docs/losses.md', import.meta.url),
);
