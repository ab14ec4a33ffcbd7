/**
 * @file Makes the tables of docs/performance.md on caches, refreshes and correctors from bench/results/cache….json, refresh.json and
 * corrector….json:
 *
 *     npm run bench:all -- --only cache,refresh,corrector,corrector-search
 */
import type { RowsResult, ScoringResult, SearchResult } from '../../bench/measure-cache.ts';
import type {
  CacheMemoryResult,
  CacheStepResult,
  CorrectorStepResult,
} from '../../bench/measure-cache-step.ts';
import type {
  CorrectedDrawsResult,
  CorrectedRowsResult,
  CorrectorLearnResult,
  EncodeResult,
} from '../../bench/measure-corrector.ts';
import type { RefreshResult } from '../../bench/measure-refresh.ts';
import type { Machine } from '../../bench/result-file.ts';
import { markdownTable as table } from './page.ts';
import {
  count,
  measured,
  megabytes,
  ms,
  NOT_MEASURED,
  origin,
  percent,
  rate,
  ratio,
  spread,
} from './performance-parts.ts';

type CacheResults = Machine & {
  readonly results: readonly (ScoringResult | CacheStepResult | CacheMemoryResult)[];
};

/** Blocks of docs/performance.md on caches, refreshes and correctors. */
export function cacheBlocks(): Record<string, string> {
  const cache = measured<CacheResults>('cache');
  const of = <T extends { case: string }>(name: T['case']): T[] =>
    (cache?.results ?? []).filter((result) => result.case === name) as unknown as T[];
  const filled = (results: readonly unknown[], content: () => string) =>
    results.length > 0 ? content() : NOT_MEASURED;
  const [scoring, steps] = [of<ScoringResult>('scoring'), of<CacheStepResult>('step')];
  const memory = of<CacheMemoryResult>('memory');
  return {
    'cache-scoring': filled(scoring, () => `${scoringTable(scoring)}\n\n${origin(cache!, 'cache')}`),
    'cache-search': searchTable(),
    'cache-rows': rowsTable(),
    'cache-step': filled(steps, () => stepTable(steps)),
    'cache-memory': filled(memory, () => memoryLine(memory[0]!)),
    refresh: refreshTable(),
    corrector: correctorTables(),
    ...drawnRowsTables(),
  };
}

const scoringTable = (results: readonly ScoringResult[]): string =>
  table(
    [
      ...['cache', 'bare product, ms', 'GFLOP/s', 'sums of scores, ms', 'all of it, ms'],
      ...['over the product', 'best over best'],
    ],
    results.map((r) => [
      ...[`${count(r.rows)} × 256 ${r.storage}`, spread(r, 'productMs', ms), r.productGflops.toFixed(0)],
      ...[spread(r, 'sumsMs', ms), spread(r, 'sampleMs', ms)],
      ...[spread(r, 'ratio', ratio, { strong: true }), ratio(r.bestRatio)],
    ]),
  );

function searchTable(): string {
  const found = measured<Machine & { readonly results: readonly SearchResult[] }>('cache-search');
  if (!found) return NOT_MEASURED;
  return [
    table(
      ['rows', 'all rows scored, ms', 'by the index, ms', 'scores', 'missed', 'error of log Z', 'build, s'],
      found.results.map((r) => [
        ...[
          `${count(r.rows)} × 256 f32`,
          spread(r, 'exactMs', ms),
          spread(r, 'indexMs', ms, { strong: true }),
        ],
        ...[`${(100 * r.scoredRatio).toFixed(1)} %`, r.missedProbability.toFixed(4)],
        ...[r.logPartitionError.toFixed(3), (r.buildMs / 1000).toFixed(1)],
      ]),
    ),
    '',
    origin(found, 'cache-search'),
  ].join('\n');
}

function rowsTable(): string {
  const found = measured<Machine & { readonly results: readonly RowsResult[] }>('cache-rows');
  if (!found) return NOT_MEASURED;
  return [
    table(
      [
        ...['rows a second', 'inserted by 128', 'refreshed by 128', 'copied by 128', 'filled'],
        ...['all refreshed', 'bytes a row'],
      ],
      found.results.map((r) => [
        ...[`${count(r.rows)} × 256 ${r.storage}`, rate(r.insertedPerSecond), rate(r.refreshedPerSecond)],
        r.copiedPerSecond === undefined ? '' : rate(r.copiedPerSecond),
        ...[rate(r.filledPerSecond), rate(r.allRefreshedPerSecond), r.bytesPerRow.toFixed(0)],
      ]),
    ),
    '',
    origin(found, 'cache-rows'),
  ].join('\n');
}

const stepTable = (results: readonly CacheStepResult[]): string =>
  table(
    ['encoder', 'rows', '`in-batch`, ms', '`negative-cache`, ms', 'of which sampling', 'ratio'],
    results.map((r) => [
      ...[r.title, count(r.rows), spread(r, 'inBatchMs', ms), spread(r, 'negativeCacheMs', ms)],
      ...[spread(r, 'sampleMs', ms), spread(r, 'ratio', ratio, { strong: true })],
    ]),
  );

function memoryLine({ residentBytes, growthRatio, title, rows }: CacheMemoryResult): string {
  const [first, last] = [residentBytes[0]!, residentBytes.at(-1)!];
  return (
    `Resident memory of ${count(last.step)} steps over ${count(rows)} rows (${title}): ${megabytes(first.bytes)} after ` +
    `${count(first.step)} steps, ${megabytes(last.bytes)} at the end, ${(100 * growthRatio).toFixed(1)} %.`
  );
}

function refreshTable(): string {
  const found = measured<Machine & { readonly results: readonly RefreshResult[] }>('refresh');
  if (!found) return NOT_MEASURED;
  const seconds = (value: number) => (value / 1000).toFixed(2);
  return [
    table(
      [
        ...['encoder', 'rows', 'steps a second', 'with a refresh beside', 'ratio'],
        ...['refresh alone, s', 'beside training, s', 'ratio'],
      ],
      found.results.map((r) => [
        ...[
          r.title,
          count(r.rows),
          spread(r, 'stepsPerSecond', ratio),
          spread(r, 'stepsPerSecondBeside', ratio),
        ],
        ...[`**${ratio(r.stepsPerSecondBeside / r.stepsPerSecond)}**`, spread(r, 'aloneMs', seconds)],
        ...[spread(r, 'besideMs', seconds), `**${ratio(r.besideMs / r.aloneMs)}**`],
      ]),
    ),
    '',
    origin(found, 'refresh'),
  ].join('\n');
}

function correctorTables(): string {
  const found = measured<
    Machine & {
      readonly results: readonly (CorrectedRowsResult | CorrectorLearnResult | EncodeResult)[];
    }
  >('corrector');
  if (!found) return NOT_MEASURED;
  const { results } = found;
  const encoded = results.find((result) => result.case === 'encode')!;
  const updates = results.filter((result) => result.case === 'learn');
  const whole = (value: number) => value.toFixed(0);
  return [
    table(
      ['corrector', 'rows a second', 'GFLOP/s', 'of a product', 'share', 'best over best', 'over embedding'],
      results
        .filter((result) => result.case === 'rows')
        .map((r) => [
          ...[
            `\`${r.kind}\`, ${count(r.rows)} × ${r.dimension} ${r.storage}`,
            spread(r, 'rowsPerSecond', rate),
          ],
          ...[whole(r.gflops), whole(r.gemmGflops), spread(r, 'share', percent, { strong: true })],
          ...[percent(r.bestShare), `× ${rate(r.rowsPerSecond / encoded.textsPerSecond)}`],
        ]),
    ),
    '',
    `Embedding: ${encoded.title}, ${encoded.textsPerSecond.toFixed(1)} texts a second. ` +
      'An update of the corrector, refits among them: ' +
      `${updates.map((r) => `${r.kind} at D = ${r.dimension} ${ms(r.updateMs)} ms`).join(', ')}.`,
    '',
    origin(found, 'corrector'),
  ].join('\n');
}

/** Tables of steps and draws that correct rows as an index draws them. */
function drawnRowsTables(): Record<'corrector-step' | 'corrector-draws', string> {
  const found = measured<
    Machine & { readonly results: readonly (CorrectorStepResult | CorrectedDrawsResult)[] }
  >('corrector-search');
  const results = found?.results ?? [];
  const [steps, draws] = [
    results.filter((result) => result.case === 'step'),
    results.filter((result) => result.case === 'draws'),
  ];
  const stepLines = steps.flatMap(({ title, rows, exact, index }) => {
    const line = (of: typeof exact) => [
      ...[spread(of, 'stepMs', ms), spread(of, 'correctMs', ms)],
      spread(of, 'share', percent, { strong: true }),
    ];
    return [
      [title, count(rows), 'all', ...line(exact), ''],
      [
        title,
        count(rows),
        count(index.correctedRatio * rows),
        ...line(index),
        index.missedProbability.toFixed(4),
      ],
    ];
  });
  const drawLines = draws.map((r) => [
    ...[r.moved.toFixed(3), r.kl.toFixed(3), count(r.candidates), `**${r.differing.toFixed(4)}**`],
    ...[r.missedProbability.toFixed(4), r.logPartitionError.toFixed(3)],
  ]);
  return {
    'corrector-step':
      found && steps.length > 0
        ? [
            table(
              ['encoder', 'rows', 'corrected', 'step, ms', 'corrector, ms', 'share', 'missed'],
              stepLines,
            ),
            '',
            origin(found, 'corrector-search'),
          ].join('\n')
        : NOT_MEASURED,
    'corrector-draws':
      draws.length > 0
        ? table(
            [
              ...['mean ‖h(b) − b‖²', 'KL(P̃ ‖ P), nats', 'candidates', 'differing draws'],
              ...['estimated', 'error of log Z'],
            ],
            drawLines,
          )
        : NOT_MEASURED,
  };
}
