/** @file Makes the tables on TRIME, NPM and RPT of docs/language-model-experiments.md, from results of bench/rlm/trime.ts, npm.ts and rpt.ts. */
import { existsSync, readdirSync } from 'node:fs';
import {
  articleNats,
  type Difference,
  mean,
  pairedDifference,
  type TextResult,
} from '../../bench/rlm/results.ts';
import { count, plural } from '../../src/util/format.ts';
import { inRepository, NOT_MEASURED, readResult, markdownTable as table } from './page.ts';

/** Reads the results whose file name is a prefix and a seed. */
export function resultsOf<R>(prefix: string): R[] {
  const folder = inRepository('bench/results/rlm');
  const own = new RegExp(`^${prefix}-\\d+\\.json$`);
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => own.test(file)) : [];
  return files.sort().map((file) => readResult<R>(`rlm/${file}`));
}

/** Formats a number with its sign. */
const signed = (value: number, digits: number): string =>
  `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;
const interval = ({ difference, low, high }: Difference, digits: number): string =>
  `${signed(difference, digits)} (${signed(low, digits)} to ${signed(high, digits)})`;

const TRIME_ARMS = {
  base: 'the base',
  more: 'trained on, next tokens',
  local: 'TRIME, local memory',
  long: 'TRIME, memory of the document',
  external: 'TRIME, external memory, batches of similar windows (BM25)',
  random: 'TRIME, external memory, random batches',
  p0: 'TRIME, external memory, local memory always on',
  detached: 'TRIME, external memory, no gradient to remembered states',
};
const TRIME_READINGS = {
  none: 'no memory',
  cache: 'cache',
  knn: 'kNN-LM',
  'knn-cache': 'kNN-LM and cache',
  memory: 'local memory',
  'long-memory': 'memory of the document',
  external: 'datastore in the softmax',
  outside: 'datastore beside it',
};

interface TrimeResult extends TextResult {
  readonly seed: number;
  readonly tokens: number;
  readonly settings: {
    readonly steps: number;
    readonly batch: number;
    readonly window: number;
    readonly datastoreTokens: string;
  };
}

function trimeTable(): string {
  const readings = Object.keys(TRIME_READINGS);
  const found = Object.keys(TRIME_ARMS).map(
    (arm) => [arm, readings.map((each) => resultsOf<TrimeResult>(`trime-${arm}-${each}`))] as const,
  );
  const measured = found.filter(([, results]) => results.some(({ length }) => length > 0));
  if (measured.length === 0) return NOT_MEASURED;
  const rows = measured.map(([arm, results]) => [
    TRIME_ARMS[arm as keyof typeof TRIME_ARMS],
    ...results.map((each) =>
      each.length === 0 ? '' : mean(each.map(({ perplexity }) => perplexity)).toFixed(2),
    ),
    String(Math.max(...results.map(({ length }) => length))),
  ]);
  const of = (arm: string, reading: string) => resultsOf<TrimeResult>(`trime-${arm}-${reading}`);
  const pairs = [
    [
      'TRIME (BM25) with its datastore beside the softmax, from the model trained on with kNN-LM and cache',
      of('external', 'outside'),
      of('more', 'knn-cache'),
    ],
    ['from the model trained on, read in the same way', of('external', 'outside'), of('more', 'outside')],
    [
      'with the memory of the document, from the model trained on, read in the same way',
      of('external', 'long-memory'),
      of('more', 'long-memory'),
    ],
    [
      'batches of similar windows from random ones, datastore beside the softmax',
      of('external', 'outside'),
      of('random', 'outside'),
    ],
  ] as const;
  const differences = pairs.flatMap(([title, own, other]) => {
    const [ours, theirs] = [own, other].map((results, i) =>
      results.filter(({ seed }) => [own, other][1 - i]!.some((each) => each.seed === seed)),
    );
    if (ours!.length === 0) return [];
    const difference = pairedDifference(articleNats(ours!), articleNats(theirs!));
    const seeds = plural(ours!.length, 'seed');
    return [`- ${title}: ${interval(difference, 4)} nats a token, ${seeds}`];
  });
  const [first] = measured[0]![1].flat();
  const { steps, batch, window, datastoreTokens } = first!.settings;
  return [
    table(['perplexity', ...Object.values(TRIME_READINGS), 'seeds'], rows),
    '',
    `${count(first!.tokens)} test tokens of ${first!.documents.length} articles; ${count(steps)} steps of ${count(batch * window)} tokens; a datastore of ` +
      `${count(Number(datastoreTokens))} tokens.`,
    ...(differences.length > 0 ? ['', ...differences] : []),
  ].join('\n');
}

const NPM_ROWS = [
  ['base-head', 'the base, by its head (told the length)'],
  ['more-head', 'trained on, by its head (told the length)'],
  ['base-phrases', 'the base, as an encoder of phrases'],
  ['more-phrases', 'trained on, as an encoder of phrases'],
  ['same-document-phrases', 'NPM, batches of one document'],
  ['random-phrases', 'NPM, random batches'],
  ['detached-phrases', 'NPM, no gradient to the tokens that are searched'],
] as const;

interface NpmResult {
  readonly exactMatch: number;
  readonly exactMatchLong: number;
  readonly exactMatchUnseen: number;
  readonly longSpans: number;
  readonly unseenSpans: number;
  readonly units: readonly unknown[];
  readonly settings: { readonly steps: number; readonly batch: number };
}

/** Makes the table of results whose names begin with a prefix. */
function npmTable(prefix: string): string {
  const measured = NPM_ROWS.map(
    ([name, title]) => [title, resultsOf<NpmResult>(`${prefix}-${name}`)] as const,
  ).filter(([, { length }]) => length > 0);
  if (measured.length === 0) return NOT_MEASURED;
  const share = (results: readonly NpmResult[], key: 'exactMatch' | 'exactMatchLong' | 'exactMatchUnseen') =>
    `${(100 * mean(results.map((each) => each[key]))).toFixed(2)} %`;
  const [first] = measured[0]![1];
  const { longSpans, unseenSpans, units, settings } = first!;
  return [
    table(
      ['model', 'all spans', 'two tokens and more', 'of these, never seen in training', 'seeds'],
      measured.map(([title, results]) => [
        title,
        ...(['exactMatch', 'exactMatchLong', 'exactMatchUnseen'] as const).map((key) => share(results, key)),
        String(results.length),
      ]),
    ),
    '',
    `Share of masked spans whose phrase is found: ${count(units.length)} spans, ${count(longSpans)} of two tokens and more, ${count(unseenSpans)} of these never ` +
      `seen. ${count(settings.steps)} steps.`,
  ].join('\n');
}

const RPT_ARMS = {
  base: 'the base',
  window: 'trained on, its window alone',
  random: 'random earlier chunks',
  bm25: 'earlier chunks by BM25',
  lexical: 'learned retriever, graded by BM25',
  semantic: 'learned retriever, graded by the model',
  oracle: 'best chunks by grade',
  'no-gate': 'learned retriever, without gates',
  predicted: 'learned retriever, own neighbours from the first step',
};

interface RptResult extends TextResult {
  readonly precision: number | null;
  readonly tokens: number;
  readonly settings: {
    readonly steps: number;
    readonly trainTokens: number;
    readonly baseLr: number;
  };
}

function rptTable(): string {
  const measured = Object.entries(RPT_ARMS)
    .map(([arm, title]) => [arm, title, resultsOf<RptResult>(`rpt-${arm}`)] as const)
    .filter(([, , { length }]) => length > 0);
  if (measured.length === 0) return NOT_MEASURED;
  const references = ['base', 'random'] as const;
  const rows = measured.map(([arm, title, results]) => {
    const precisions = results.flatMap(({ precision }) => precision ?? []);
    const differences = references.map((reference) => {
      const others = resultsOf<RptResult>(`rpt-${reference}`);
      const isCompared = others.length > 0 && arm !== reference && arm !== 'base';
      return isCompared ? interval(pairedDifference(articleNats(results), articleNats(others)), 4) : '';
    });
    return [
      title,
      mean(results.map(({ perplexity }) => perplexity)).toFixed(2),
      ...differences,
      precisions.length === 0 ? '' : mean(precisions).toFixed(2),
      String(results.length),
    ];
  });
  const [, , [first]] = measured.at(-1)!;
  const { steps, trainTokens, baseLr } = first!.settings;
  return [
    table(
      [
        'reads',
        'perplexity',
        'nats a token, from the base (95 %)',
        'from random chunks (95 %)',
        'useful neighbours',
        'seeds',
      ],
      rows,
    ),
    '',
    `${count(first!.tokens)} test tokens of ${first!.documents.length} articles; ${count(steps)} steps over ${count(trainTokens)} tokens` +
      `${baseLr === 0 ? '; the base is frozen' : ''}.`,
  ].join('\n');
}

/** Generated parts on TRIME, NPM and RPT. Every block is filled, with or without a measurement. */
export const tokenExperimentBlocks = (): Record<string, string> => ({
  trime: trimeTable(),
  npm: npmTable('npm'),
  'npm-few': npmTable('npm-first-21'),
  rpt: rptTable(),
});
