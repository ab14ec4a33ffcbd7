import { REASONS, type Reason } from '../mining/candidate-filter.ts';
import type { MiningStatistics } from '../mining/mining-statistics.ts';
import type { BM25_OPTIONS, TERM_OPTIONS } from '../text/bm25-options.ts';
import { describeLexical, type LexicalRanker } from '../text/lexical-rankers.ts';
import { UndriftError } from '../util/errors.ts';
import { count, formatDuration } from '../util/format.ts';
import type { GivenOptions, OptionValues } from '../util/option-table.ts';

/** Facts about the ranker, stored so that a file of negatives can be assigned to its model later. */
export type Ranker =
  | ({ readonly kind: LexicalRanker } & OptionValues<typeof TERM_OPTIONS> & GivenOptions<typeof BM25_OPTIONS>)
  | { readonly kind: 'retriever'; readonly embeddingSpace: string; readonly trainedSteps: number }
  | { readonly kind: 'run'; readonly sha256: string };

/** Makes the error for a search that found no negative. */
export function nothingMined(statistics: MiningStatistics): UndriftError {
  const { removed } = statistics;
  const most = REASONS.reduce((a, b) => (removed[b] > removed[a] ? b : a));
  return new UndriftError(
    `none of ${statistics.candidates} candidates may be a negative; nothing is written`,
    {
      help:
        statistics.candidates === 0
          ? 'the ranker finds no document for any query'
          : `most of them: ${LABELS[most]}; relax that`,
    },
  );
}

const LABELS: Readonly<Record<Reason, string>> = {
  positive: 'known positives',
  duplicate: 'copies of a positive',
  sameId: 'the query itself',
  empty: 'empty documents',
  rank: 'better than --rank-from',
  maxScore: 'above --max-score',
  minScore: 'below --min-score',
  absoluteMargin: 'within --absolute-margin',
  relativeMargin: 'within --relative-margin',
  repeated: 'copies of another candidate',
  check: 'near the positive by --check-with',
};

/** Describes what was mined, and what was left out for which reason. */
export function report(found: {
  out: string;
  model: string;
  ranker: Ranker;
  data: string;
  split: string;
  skippedQueries: number;
  seconds: number;
  statistics: MiningStatistics;
  keptSplits: readonly string[];
  next: string;
}): string {
  const { out, model, ranker, data, split, skippedQueries, seconds, statistics, keptSplits, next } = found;
  const { candidates, removed, kept, negatives, queries, short, wanted, shortCounts } = statistics;
  const lines: [string, number][] = [
    ['candidates', candidates],
    ...REASONS.filter((reason) => removed[reason] > 0).map((reason): [string, number] => [
      `  ${LABELS[reason]}`,
      -removed[reason],
    ]),
    ['left', kept],
    ['taken', negatives],
  ];
  const label = Math.max(...lines.map(([name]) => name.length));
  const counts = lines.map(([, rows]) => count(rows).replace('-', '−'));
  const width = Math.max(...counts.map((text) => text.length));
  const table = lines
    .map(([name, rows], i) => {
      const share = `${((100 * Math.abs(rows)) / candidates).toFixed(1)} %`;
      return `${name.padEnd(label)}  ${counts[i]!.padStart(width)}  ${share.padStart(7)}\n`;
    })
    .join('');
  const who =
    ranker.kind === 'run'
      ? `the run ${model}`
      : ranker.kind !== 'retriever'
        ? describeLexical(ranker.kind, ranker)
        : `${model} (embedding space ${ranker.embeddingSpace}, ${count(ranker.trainedSteps)} steps)`;
  const shortLines =
    short.queries === 0
      ? `every query has ${wanted}\n`
      : `short: ${count(short.queries)} of ${count(queries)} queries lack ${count(short.missing)} negatives ` +
        `(${describeCounts(shortCounts)})\n`;
  const skipped =
    skippedQueries > 0
      ? `${count(skippedQueries)} queries without text, or without a positive that has one, left out\n`
      : '';
  return (
    `${out}\n${count(negatives)} negatives for ${count(queries)} queries of ${data}/${split}, by ${who}, ` +
    `${formatDuration(seconds * 1000)}\n\n` +
    `${table}\n${shortLines}${skipped}` +
    (keptSplits.length > 0 ? `kept as they are: ${keptSplits.join(', ')}\n` : '') +
    next
  );
}

/** Describes the counts: `3 have none, 1 has 2`. A long list is cut after the first few numbers. */
function describeCounts(counts: readonly number[]): string {
  const present = counts.flatMap((queries, chosen): [number, number][] =>
    queries > 0 ? [[queries, chosen]] : [],
  );
  const shown = present
    .slice(0, 5)
    .map(
      ([queries, chosen]) =>
        `${count(queries)} ${queries === 1 ? 'has' : 'have'} ${chosen === 0 ? 'none' : chosen}`,
    );
  return shown.join(', ') + (present.length > shown.length ? ', …' : '');
}
