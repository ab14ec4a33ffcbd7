/**
 * @file Makes the tables of docs/performance.md on stores and their server from bench/results/serve.json:
 *
 *     npm run bench:all -- --only serve
 */
import type { ServeResults } from '../../bench/serve.ts';
import { markdownTable as table } from './page.ts';
import { count, measured, ms, NOT_MEASURED, origin, percent, rate, ratio } from './performance-parts.ts';

/** Blocks of docs/performance.md on a store and its server. */
export function serveBlocks(): Record<string, string> {
  const found = measured<ServeResults>('serve');
  if (!found) return { 'serve-search': NOT_MEASURED, 'serve-load': NOT_MEASURED, 'serve-rows': NOT_MEASURED };
  const { stores, ingest, refresh } = found;
  const over = (value: number, bare: number) => `${ms(value)} (× ${ratio(value / bare)})`;
  const rows = [
    table(
      [
        ...['passages', 'indexed a second', 'approximate index, s', 'upsert of ten, ms', 'until found, ms'],
        'loading all vectors, ms',
      ],
      stores.map(({ passages, built, upsert }) => [
        ...[count(passages), rate(built.passagesPerSecond), built.approximateSeconds.toFixed(1)],
        ...[ms(upsert.storeMs), ms(upsert.followMs), ms(upsert.loadMs)],
      ]),
    ),
    ...(ingest
      ? [
          `\nStoring ${count(ingest.rows)} rows: ${rate(ingest.store)} a second; LanceDB’s own \`add\` ${rate(ingest.lance)}.`,
        ]
      : []),
    ...(refresh
      ? [
          `A refresh in the background of a migration cost searches ${percent(1 - refresh.withRefresh.queriesPerSecond / refresh.without.queriesPerSecond)}, of a budget of ${percent(refresh.workShare)}.`,
        ]
      : []),
  ];
  return {
    'serve-search': [
      table(
        [
          ...['passages', 'queries at once', 'embedding, ms', 'bare products, ms', 'index, ms'],
          'whole search, ms',
        ],
        stores.flatMap(({ passages, exact }) =>
          exact.map((of) => [
            ...[count(passages), count(of.queries), ms(of.encodeMs), ms(of.bareMs)],
            ...[over(of.indexMs, of.bareMs), over(of.searchMs, of.bareMs)],
          ]),
        ),
      ),
      '',
      origin(found, 'serve'),
    ].join('\n'),
    'serve-load': table(
      ['passages', 'search', 'connections', 'queries a second', 'p50, ms', 'p95, ms', 'p99, ms'],
      stores.flatMap(({ passages, load }) =>
        load.map((of) => [
          ...[count(passages), of.search, count(of.connections), rate(of.queriesPerSecond)],
          ...[of.p50, of.p95, of.p99].map(ms),
        ]),
      ),
    ),
    'serve-rows': rows.join('\n'),
  };
}
