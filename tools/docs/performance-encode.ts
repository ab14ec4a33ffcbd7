/**
 * @file Makes the tables of docs/performance.md on encoding from bench/results/encode.json and encode-quality.json:
 *
 *     npm run bench:all -- --only encode --retriever MINILM
 *     npm run bench:all -- --only encode-quality --retriever MINILM --sets DATA,…
 */
import type { EncodeResults } from '../../bench/encode.ts';
import type { EncodeQualityResults } from '../../bench/encode-quality.ts';
import { markdownTable as table } from './page.ts';
import { count, measured, megabytes, NOT_MEASURED, origin, ratio, spread } from './performance-parts.ts';

const tenths = (value: number): string => value.toFixed(1);

/** Blocks of docs/performance.md on encoding. */
export function encodeBlocks(): Record<string, string> {
  const found = measured<EncodeResults>('encode');
  return {
    'encode-speed': found ? speedTable(found) : NOT_MEASURED,
    'encode-padding': found ? paddingTable(found) : NOT_MEASURED,
    'encode-quality': qualityTable(),
  };
}

function speedTable(found: EncodeResults): string {
  return [
    table(
      ['dtype', 'processes × threads', 'texts a second', 'over f32 in one process', 'peak memory of all'],
      found.speeds.map((r) => [
        ...[r.dtype, `${r.processes} × ${r.threads}`, spread(r, 'textsPerSecond', tenths)],
        ...[`× ${spread(r, 'ratio', ratio, { strong: true })}`, megabytes(r.peakResidentBytes)],
      ]),
    ),
    '',
    `${found.model}, ${count(found.texts)} documents of ${found.data}, ${found.rounds} rounds. ${origin(found, 'encode')}`,
  ].join('\n');
}

const paddingTable = ({ padding }: EncodeResults): string =>
  table(
    ['data', 'documents', 'passes', 'tokens', 'with padding', 'padding'],
    padding.map((r) => [
      ...[r.data, count(r.documents), count(r.passes), count(r.tokens), count(r.paddedTokens)],
      `${tenths(100 * (1 - r.tokens / r.paddedTokens))} %`,
    ]),
  );

function qualityTable(): string {
  const found = measured<EncodeQualityResults>('encode-quality');
  if (!found) return NOT_MEASURED;
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
  return [
    table(
      ['data', 'queries', 'documents', 'f32', 'int8', 'difference (95 %)', 'p', 'mean cosine'],
      found.results.map((r) => [
        ...[r.data, count(r.queries), count(r.documents), r.f32.toFixed(4), r.int8.toFixed(4)],
        `${signed(r.int8 - r.f32)} (${r.interval.map(signed).join(' to ')})`,
        ...[r.pValue.toFixed(3), r.cosine.toFixed(4)],
      ]),
    ),
    '',
    `nDCG@10, ${found.model}, documents of ${found.tokens} tokens; each query ranks all relevant documents and BM25’s best ${found.depth} of every query. ` +
      origin(found, 'encode-quality'),
  ].join('\n');
}
