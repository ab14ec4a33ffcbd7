import type { Direction } from '../migration/correction-options.ts';
import type { Correction, CorrectionReport } from '../migration/measure-correction.ts';
import type { Quality } from '../migration/search-quality.ts';
import { count, formatCount, formatDuration, percent } from '../util/format.ts';

/** Facts that a report does not contain itself. */
interface Named {
  readonly from: string;
  readonly to: string;
  readonly data: string;
  readonly split: string;
  readonly topK: readonly number[];
  readonly seconds: number;
}

const TITLES: Readonly<Record<Direction, string>> = {
  documents: 'documents: new queries on old vectors, moved to the new space',
  queries:
    'queries: new queries moved to the old space, on old vectors as they are; at best as the old model alone',
};

/** Formats a report for the terminal. */
export function formatCorrection(report: CorrectionReport, named: Named): string {
  const { from, to, queries, documents, sample, corrections, stale } = report;
  const model = (path: string, { dimension, embeddingSpace }: CorrectionReport['from']) =>
    `${path} (D ${dimension}, embedding space ${embeddingSpace})`;
  const directions = [...new Set(corrections.map(({ direction }) => direction))];
  return (
    `from  ${model(named.from, from)}\nto    ${model(named.to, to)}\n` +
    `${count(queries)} queries of ${named.data}/${named.split}, ${count(documents)} documents, ${formatDuration(named.seconds * 1000)}\n` +
    `fitted to ${count(sample)} documents: texts for the new model to embed, ${percent(sample / documents)} of the corpus\n` +
    (stale
      ? ''
      : 'the dimensions differ: without a corrector, new queries cannot be compared with old vectors\n') +
    directions
      .map((direction) => `\n${TITLES[direction]}\n\n${table(report, direction, named.topK)}`)
      .join('') +
    `\nof full: corrected / full. recovered: (corrected − nothing done) / (full − nothing done), – where that gap may be chance.\n` +
    'overlap: with the best of a full re-embedding. error: mean squared distance to the vectors aimed at, of documents that were not fitted to\n'
  );
}

function table(report: CorrectionReport, direction: Direction, topK: readonly number[]): string {
  const { old, stale, staleError, full } = report;
  const head = [
    '',
    ...topK.flatMap((k) => [`recall@${k}`, 'of full', 'recovered', `overlap@${k}`]),
    'error',
    'parameters',
    'fit',
    'rows/s',
  ];
  const cells = (quality: Quality | null, of?: Correction) =>
    topK.flatMap((k) => {
      if (quality === null) return ['impossible', '', '', ''];
      const recall = `recall@${k}`;
      const share = of?.recovered[recall];
      return [
        quality[recall]!.toFixed(4),
        of ? percent(of.ratio[recall]!) : '',
        typeof share === 'number' ? percent(share) : of ? '–' : '',
        quality[`overlap@${k}`]!.toFixed(4),
      ];
    });
  const corrected = report.corrections
    .filter((correction) => correction.direction === direction)
    .map((correction) => [
      correction.kind,
      ...cells(correction.quality, correction),
      correction.heldOutError.toFixed(4),
      count(correction.parameters),
      formatDuration(correction.fitMs),
      formatCount(correction.rowsPerSecond),
    ]);
  return aligned([
    head,
    ['old model alone', ...cells(old)],
    ['nothing done', ...cells(stale), staleError?.toFixed(4) ?? ''],
    ...corrected,
    ['all re-embedded', ...cells(full), '0.0000'],
  ]);
}

/** Formats rows as columns. All but the first are aligned at the right. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join('  '),
    )
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}
