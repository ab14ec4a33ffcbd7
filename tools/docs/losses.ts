/** @file Makes the table of docs/losses.md from bench/results/matryoshka.json (`bench/matryoshka.ts`). */
import { spread } from '../../src/compare/statistics.ts';
import { type MadePage, markdownTable, readResult } from './page.ts';

interface Results {
  readonly command: string;
  readonly options: Readonly<Record<string, string[]>>;
  readonly dimensions: readonly number[];
  readonly results: readonly { arm: string; seed: number; ndcg: number[] }[];
}

/** Makes the generated parts of docs/losses.md. */
export function lossesPage(): MadePage {
  const { command, options, dimensions, results } = readResult<Results>('matryoshka.json');
  const arms = [...new Set(results.map(({ arm }) => arm))];
  const cell = (arm: string, i: number) => {
    const { mean, sd } = spread(results.filter((run) => run.arm === arm).map(({ ndcg }) => ndcg[i]!));
    return `${mean.toFixed(3)} ± ${sd!.toFixed(3)}`;
  };
  const table = markdownTable(
    ['', ...dimensions.map((D, i) => (i === 0 ? `${D}, all` : String(D)))],
    arms.map((arm) => [
      options[arm]!.length > 0 ? `\`${options[arm]!.join(' ')}\`` : 'without',
      ...dimensions.map((_, i) => cell(arm, i)),
    ]),
  );
  const seeds = new Set(results.map(({ seed }) => seed)).size;
  const matryoshka = `${table}

nDCG@10 of the test split by the number of dimensions (\`undrift eval --split test --dimensions N\`), mean and standard deviation over ${seeds} seeds of
\`${command}\`. From [\`bench/results/matryoshka.json\`](../bench/results/matryoshka.json), made by
[\`bench/matryoshka.ts\`](../bench/matryoshka.ts).`;
  return { page: 'docs/losses.md', blocks: { matryoshka } };
}
