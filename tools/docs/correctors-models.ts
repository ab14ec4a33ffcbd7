import type { Direction } from '../../src/migration/correction-options.ts';
import type { CorrectionReport } from '../../src/migration/measure-correction.ts';
import type { Quality } from '../../src/migration/search-quality.ts';
import { count } from '../../src/util/format.ts';
import { markdownTable, readResult } from './page.ts';

const SHOWN = ['recall@10', 'recall@100', 'overlap@10'];
const TITLES: Readonly<Record<Direction, string>> = {
  documents: 'old documents moved',
  queries: 'new queries moved',
};

/** Makes a table from the output of `undrift correct --json` in a file of bench/results/corrector/. */
export function betweenModels(file: string): string {
  const report = readResult<CorrectionReport>(`corrector/${file}`);
  const { old, stale, full, staleError, corrections, from, to, sample, documents, queries } = report;
  const row = (name: string, quality: Quality | null, rest: readonly string[] = ['', '']) => [
    name,
    ...SHOWN.map((metric) => quality?.[metric]?.toFixed(3) ?? '–'),
    ...rest,
  ];
  const share = (value: number | null | undefined) =>
    typeof value === 'number' ? `${(100 * value).toFixed(0)} %` : '–';
  const rows = [
    row('old model alone', old),
    row('nothing done', stale, ['', staleError?.toFixed(3) ?? '']),
    ...corrections.map(({ direction, kind, quality, recovered, ratio, heldOutError }) =>
      row(`${TITLES[direction]}, \`${kind}\``, quality, [
        stale ? share(recovered['recall@10']) : `${share(ratio['recall@10'])} of full`,
        heldOutError.toFixed(3),
      ]),
    ),
    row('all re-embedded', full),
  ];
  const table = markdownTable(['', ...SHOWN, 'recall@10 recovered', 'error'], rows);
  return (
    `${table}\n\n${count(queries)} test queries, ${count(documents)} documents, fitted to ${count(sample)}; ` +
    `D ${from.dimension} to ${to.dimension}. From [\`bench/results/corrector/${file}\`](../bench/results/corrector/${file}).`
  );
}
