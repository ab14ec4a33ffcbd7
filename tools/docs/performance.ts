/**
 * @file Makes the tables of docs/performance.md from result files:
 *
 *     npm run --silent bench:cache -- --json > bench/results/cache.json
 *     npm run --silent bench:cache -- --case search --json > bench/results/cache-search.json
 *     npm run --silent bench:cache -- --case rows --json > bench/results/cache-rows.json
 *     npm run --silent bench:refresh -- --json > bench/results/refresh.json
 *     npm run --silent bench:corrector -- --json > bench/results/corrector.json
 *     npm run bench:lm -- --model FOLDER      (tables of performance-lm.ts)
 *     npm run bench:joint -- --model FOLDER --retriever FOLDER      (tables of performance-joint.ts)
 */
import { existsSync } from 'node:fs';
import type { RowsResult, ScoringResult, SearchResult } from '../../bench/measure-cache.ts';
import type {
  CacheMemoryResult,
  CacheStepResult,
  CorrectorStepResult,
} from '../../bench/measure-cache-step.ts';
import type {
  CorrectedRowsResult,
  CorrectorLearnResult,
  EncodeResult,
} from '../../bench/measure-corrector.ts';
import type { RefreshResult } from '../../bench/measure-refresh.ts';
import { inRepository, type MadePage, readResult, markdownTable as table } from './page.ts';
import { jointBlocks } from './performance-joint.ts';
import { languageModelBlocks } from './performance-lm.ts';

interface CacheResults {
  readonly processor: string;
  readonly load: { readonly before: number; readonly after: number };
  readonly results: readonly (ScoringResult | RowsResult | CacheStepResult | CacheMemoryResult)[];
}

const NOT_MEASURED = '*Not measured yet.*';
const blocks: Record<string, string> = {};

/** Generated parts of docs/performance.md. Every block is filled, with or without a measurement. */
export const performancePage = (): MadePage => ({
  page: 'docs/performance.md',
  blocks: { ...blocks, ...languageModelBlocks(), ...jointBlocks() },
});

const read = <T>(name: string): T | undefined =>
  existsSync(inRepository(`bench/results/${name}.json`)) ? readResult<T>(`${name}.json`) : undefined;
const count = (value: number) => Math.round(value).toLocaleString('en-US');
/** Rounds a rate to three digits. Further digits are not reproducible. */
const rate = (value: number) => count(Number(value.toPrecision(3)));
const ms = (value: number) => value.toFixed(value < 100 ? 1 : 0);

const cache = read<CacheResults>('cache');
const of = <T extends { case: string }>(name: T['case']): T[] =>
  (cache?.results ?? []).filter((result) => result.case === name) as unknown as T[];
function fill(name: string, isMeasured: boolean, content: () => string): void {
  blocks[name] = isMeasured ? content() : NOT_MEASURED;
}

const scoring = of<ScoringResult>('scoring');
fill('cache-scoring', scoring.length > 0, () => {
  const { before, after } = cache!.load;
  return [
    table(
      [
        'cache',
        'bare product, ms',
        'GFLOP/s',
        'sums of scores, ms',
        'all of it, ms',
        'over the product',
        'best over best',
      ],
      scoring.map((r) => [
        `${count(r.rows)} × 256 ${r.storage}`,
        ms(r.productMs),
        r.productGflops.toFixed(0),
        ms(r.sumsMs),
        ms(r.sampleMs),
        `**${r.ratio.toFixed(2)}**`,
        r.bestRatio.toFixed(2),
      ]),
    ),
    '',
    `${cache!.processor}; load of the machine ${before.toFixed(1)} before, ${after.toFixed(1)} after. From`,
    '[`bench/results/cache.json`](../bench/results/cache.json), like the tables below.',
  ].join('\n');
});

const search = read<{ readonly processor: string; readonly results: readonly SearchResult[] }>(
  'cache-search',
);
fill('cache-search', search !== undefined, () =>
  [
    table(
      ['rows', 'all rows scored, ms', 'by the index, ms', 'scores', 'missed', 'error of log Z', 'build, s'],
      search!.results.map((r) => [
        `${count(r.rows)} × 256 f32`,
        ms(r.exactMs),
        `**${ms(r.indexMs)}**`,
        `${(100 * r.scoredRatio).toFixed(1)} %`,
        r.missedProbability.toFixed(4),
        r.logPartitionError.toFixed(3),
        (r.buildMs / 1000).toFixed(1),
      ]),
    ),
    '',
    `${search!.processor}. From [\`bench/results/cache-search.json\`](../bench/results/cache-search.json).`,
  ].join('\n'),
);

const rows = read<{ readonly processor: string; readonly results: readonly RowsResult[] }>('cache-rows');
fill('cache-rows', rows !== undefined, () =>
  [
    table(
      [
        'rows a second',
        'inserted by 128',
        'refreshed by 128',
        'copied by 128',
        'filled',
        'all refreshed',
        'bytes a row',
      ],
      rows!.results.map((r) => [
        `${count(r.rows)} × 256 ${r.storage}`,
        rate(r.insertedPerSecond),
        rate(r.refreshedPerSecond),
        r.copiedPerSecond === undefined ? '' : rate(r.copiedPerSecond),
        rate(r.filledPerSecond),
        rate(r.allRefreshedPerSecond),
        r.bytesPerRow.toFixed(0),
      ]),
    ),
    '',
    `${rows!.processor}. From [\`bench/results/cache-rows.json\`](../bench/results/cache-rows.json).`,
  ].join('\n'),
);

const steps = of<CacheStepResult>('step');
fill('cache-step', steps.length > 0, () =>
  table(
    ['encoder', 'rows', '`in-batch`, ms', '`negative-cache`, ms', 'of which sampling', 'ratio'],
    steps.map((r) => [
      r.title,
      count(r.rows),
      ms(r.inBatchMs),
      ms(r.negativeCacheMs),
      ms(r.sampleMs),
      `**${r.ratio.toFixed(2)}**`,
    ]),
  ),
);

const memory = of<CacheMemoryResult>('memory')[0];
fill('cache-memory', memory !== undefined, () => {
  const { residentBytes, growthRatio, title, rows: held } = memory!;
  const [first, last] = [residentBytes[0]!, residentBytes.at(-1)!];
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  return (
    `Resident memory of ${count(last.step)} steps over ${count(held)} rows (${title}): ${megabytes(first.bytes)} after ` +
    `${count(first.step)} steps, ${megabytes(last.bytes)} at the end, ${(100 * growthRatio).toFixed(1)} %.`
  );
});

const refresh = read<{ machine: string; note?: string; results: RefreshResult[] }>('refresh');
fill('refresh', refresh !== undefined, () =>
  [
    table(
      [
        'encoder',
        'rows',
        'steps a second',
        'with a refresh beside',
        'ratio',
        'refresh alone, s',
        'beside training, s',
        'ratio',
      ],
      refresh!.results.map((r) => [
        r.title,
        count(r.rows),
        r.stepsPerSecond.toFixed(2),
        r.stepsPerSecondBeside.toFixed(2),
        `**${(r.stepsPerSecondBeside / r.stepsPerSecond).toFixed(2)}**`,
        (r.aloneMs / 1000).toFixed(2),
        (r.besideMs / 1000).toFixed(2),
        `**${(r.besideMs / r.aloneMs).toFixed(2)}**`,
      ]),
    ),
    '',
    `${refresh!.machine}. ${refresh!.note ?? ''} From [\`bench/results/refresh.json\`](../bench/results/refresh.json).`,
  ].join('\n'),
);

const corrector = read<{
  processor: string;
  load: { before: number; after: number };
  results: readonly (CorrectedRowsResult | CorrectorStepResult | CorrectorLearnResult | EncodeResult)[];
}>('corrector');
fill('corrector', corrector !== undefined, () => {
  const { processor, load, results } = corrector!;
  const encoded = results.find((result) => result.case === 'encode')!;
  const updates = results.filter((result) => result.case === 'learn');
  const lines = results.filter((result) => result.case === 'rows');
  const steps = results.filter((result) => result.case === 'step');
  return [
    table(
      ['corrector', 'rows a second', 'GFLOP/s', 'of a product', 'share', 'best over best', 'over embedding'],
      lines.map((r) => [
        `\`${r.kind}\`, ${count(r.rows)} × ${r.dimension} ${r.storage}`,
        rate(r.rowsPerSecond),
        r.gflops.toFixed(0),
        r.gemmGflops.toFixed(0),
        `**${(100 * r.share).toFixed(0)} %**`,
        `${(100 * r.bestShare).toFixed(0)} %`,
        `× ${rate(r.rowsPerSecond / encoded.textsPerSecond)}`,
      ]),
    ),
    '',
    'A step of the method `corrector` (mlp of width 2 D over all rows, 64 documents to learn from), and what the corrector takes of it:',
    '',
    table(
      ['encoder', 'rows', 'step, ms', 'corrector, ms', 'share'],
      steps.map((r) => [
        r.title,
        count(r.rows),
        ms(r.stepMs),
        ms(r.correctMs),
        `${(100 * r.share).toFixed(0)} %`,
      ]),
    ),
    '',
    `Embedding: ${encoded.title}, ${encoded.textsPerSecond.toFixed(1)} texts a second. ` +
      'An update of the corrector, refits among them: ' +
      `${updates.map((r) => `${r.kind} at D = ${r.dimension} ${ms(r.updateMs)} ms`).join(', ')}.`,
    `${processor}; load of the machine ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after. From`,
    '[`bench/results/corrector.json`](../bench/results/corrector.json).',
  ].join('\n');
});
