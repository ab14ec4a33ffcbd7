/**
 * Makes the tables of docs/correctors.md about `undrift correct`, from what it wrote with --json:
 *
 *     undrift correct --from … --to … --data data/api-docs --direction both --threads 1 --json > bench/results/corrector/correct-….json
 *     npx tsx tools/docs/make-correct-tables.ts
 */
import { readFileSync } from 'node:fs';
import type { CorrectionReport, Direction, Quality } from '../../src/migration/measure-correction.ts';
import { fillBlock } from './fill-block.ts';

const PAGE = new URL('../../docs/correctors.md', import.meta.url);
const SHOWN = ['recall@10', 'recall@100', 'overlap@10'];
const TITLES: Readonly<Record<Direction, string>> = {
  documents: 'old documents moved',
  queries: 'new queries moved',
};

const whole = (value: number) => value.toLocaleString('en-US');

function tableOf(file: string): string {
  const report = JSON.parse(
    readFileSync(new URL(`../../bench/results/corrector/${file}`, import.meta.url), 'utf8'),
  ) as CorrectionReport;
  const { old, stale, full, staleError, corrections, from, to, sample, documents, queries } = report;
  const row = (name: string, quality: Quality | null, rest: readonly string[] = ['', '']) => [
    name,
    ...SHOWN.map((metric) => quality?.[metric]?.toFixed(3) ?? '–'),
    ...rest,
  ];
  const share = (value: number | null | undefined) =>
    typeof value === 'number' ? `${(100 * value).toFixed(0)} %` : '–';
  const rows = [
    ['', ...SHOWN, 'recall@10 recovered', 'error'],
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
  const [head, ...body] = rows;
  const lines = [head!, head!.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`);
  return (
    `${lines.join('\n')}\n\n${whole(queries)} test queries, ${whole(documents)} documents, fitted to ${whole(sample)}; ` +
    `D ${from.dimension} to ${to.dimension}. From [\`bench/results/corrector/${file}\`](../bench/results/corrector/${file}).`
  );
}

fillBlock('correct-lineage', tableOf('correct-early-late.json'), PAGE);
fillBlock('correct-independent', tableOf('correct-a-d.json'), PAGE);
