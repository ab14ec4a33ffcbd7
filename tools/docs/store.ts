/**
 * @file Makes the table of docs/store.md on hybrid search from bench/results/store/hybrid-….json, each written by
 *
 *     undrift eval --store STORE --data DATA --split test --metrics ndcg@10,recall@100 --tune-on dev --json
 */
import { readdirSync } from 'node:fs';
import { count } from '../../src/util/format.ts';
import { inRepository, type MadePage, markdownTable, readResult } from './page.ts';

/** Part of the output of `undrift eval --store --json`. */
interface StoreResult {
  readonly data: string;
  readonly queries: number;
  readonly modes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly tuned?: { readonly denseWeight: number };
  readonly comparisons: readonly {
    readonly of: string;
    readonly against: string;
    readonly difference: number;
    readonly pValue: number;
  }[];
}

const FOLDER = 'store';
const METRIC = 'ndcg@10';

/** Makes the generated part of docs/store.md. */
export function storePage(): MadePage {
  const files = readdirSync(inRepository(`bench/results/${FOLDER}`))
    .filter((name) => name.startsWith('hybrid-'))
    .sort();
  const results = files.map((name) => readResult<StoreResult>(`${FOLDER}/${name}`));
  return { page: 'docs/store.md', blocks: { hybrid: hybridTable(results) } };
}

function hybridTable(results: readonly StoreResult[]): string {
  const head = [
    'data',
    'queries',
    'BM25',
    'dense',
    'hybrid, ranks',
    'hybrid, weight',
    'against BM25',
    'against dense',
  ];
  const rows = results.map(({ data, queries, modes, tuned, comparisons }) => {
    const value = (name: string) => modes[name]?.[METRIC]?.toFixed(3) ?? '–';
    const weighted = tuned && `hybrid, weight ${tuned.denseWeight}`;
    const against = (name: string) => {
      const { difference, pValue } = comparisons.find((each) => each.against === name)!;
      const p = pValue < 0.001 ? 'p < .001' : `p ${pValue.toFixed(3)}`;
      return `${difference < 0 ? '−' : '+'}${Math.abs(difference).toFixed(3)}, ${p}`;
    };
    return [
      data,
      count(queries),
      value('bm25'),
      value('dense'),
      value('hybrid'),
      weighted ? `${value(weighted)} (${tuned.denseWeight})` : '–',
      against('bm25'),
      against('dense'),
    ];
  });
  return markdownTable(head, rows);
}
