/** @file Makes the tables on joint training of docs/language-model-experiments.md, from results of bench/rlm/facts.ts and joint.ts. */
import { existsSync, readdirSync } from 'node:fs';
import { mean, pairedDifference } from '../../bench/rlm/results.ts';
import { count } from '../../src/util/format.ts';
import { inRepository, NOT_MEASURED, readResult, markdownTable as table } from './page.ts';

const FOLDER = 'rlm';
/** Result of one arm and seed. */
interface Result {
  readonly means: Readonly<Record<string, number>>;
  readonly ledger?: Readonly<Record<string, number>>;
  /** Step, retrieval utility and mass of the null passage. */
  readonly series?: readonly (readonly [step: number, utility: number, mass: number])[];
  readonly questions?: readonly { readonly nats: number }[];
}

/** Reads the results of an arm, one for each seed. */
function resultsOf(name: string): Result[] {
  const folder = inRepository(`bench/results/${FOLDER}`);
  const own = new RegExp(`^${name}-\\d+\\.json$`);
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => own.test(file)) : [];
  return files.sort().map((file) => readResult<Result>(`${FOLDER}/${file}`));
}

/** Formats the mean of a figure with its standard deviation over the seeds. */
function spread(results: readonly Result[], key: string, digits: number): string {
  const found = results.flatMap(({ means }) => means[key] ?? []);
  if (found.length === 0) return '';
  const middle = mean(found);
  if (found.length === 1) return middle.toFixed(digits);
  const squares = found.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return `${middle.toFixed(digits)} ± ${Math.sqrt(squares / (found.length - 1)).toFixed(digits)}`;
}

const spent = (results: readonly Result[], ...keys: string[]): number =>
  mean(results.map(({ ledger }) => keys.reduce((sum, key) => sum + (ledger?.[key] ?? 0), 0)));

const FACTS = {
  closed: 'closed book',
  frozen: 'warm retriever, frozen',
  judged: 'retriever of judged pairs, frozen (upper bound)',
};
const FRESHNESS = {
  'every-step': 'refreshed every step',
  async: 'refreshed beside training every 50 steps, awaited',
  'write-back': 'write-back',
  never: 'never refreshed',
  corrector: 'never refreshed, corrector',
};
const FACT_ARMS = {
  realm: {
    ...FACTS,
    joint: 'joint, refreshed every 50 steps',
    ...FRESHNESS,
    'no-null': 'joint, every 50 steps, without null passage',
    'cold-retriever': 'joint, every 50 steps, retriever from nothing',
    cold: 'joint, every 50 steps, retriever and reader from nothing',
  },
  atlas: {
    ...FACTS,
    pdist: 'PDist, refreshed every 50 steps',
    emdr2: 'EMDR², every 50 steps',
    loop: 'LOOP, every 50 steps',
    adist: 'ADist, every 50 steps',
    ...FRESHNESS,
    rerank: 'never refreshed, 64 documents ranked afresh',
    'query-side': 'query side alone, never refreshed',
  },
} as const satisfies Record<string, Record<string, string>>;

/** Table of made-up facts. */
function factsTable(system: keyof typeof FACT_ARMS): string {
  const isRealm = system === 'realm';
  const rows = Object.entries(FACT_ARMS[system]).flatMap(([arm, title]) => {
    const results = resultsOf(`facts-${system}-${arm}`);
    if (results.length === 0) return [];
    const utility = (from: number, to: number) =>
      mean(
        results.flatMap(({ series = [] }) =>
          series
            .slice(Math.floor(from * series.length), Math.ceil(to * series.length))
            .map(([, value]) => value),
        ),
      )
        .toFixed(2)
        .replace(/^-(0\.0+)$/, '$1');
    const hasUtility = isRealm && results.some(({ series = [] }) => series.length > 0);
    const cost = arm === 'rerank' ? 'overRetrieve' : 'refresh';
    const shares = ['Measured', 'Formula'].map((kind) => spread(results, `${cost}${kind}`, 2));
    return [
      [
        ...[title, spread(results, 'natsPerAnswer', 2), spread(results, 'exactMatch', 2)],
        ...[spread(results, 'recall@1', 2), spread(results, 'overlap@10', 2)],
        ...(isRealm ? [hasUtility ? `${utility(0, 0.25)} → ${utility(0.75, 1)}` : ''] : []),
        ...[count(Math.round(spent(results, 'documentEncodes'))), shares[0] === '' ? '' : shares.join(' / ')],
        String(results.length),
      ],
    ];
  });
  if (rows.length === 0) return NOT_MEASURED;
  return table(
    [
      ...['training', 'nats an answer', 'exact match', 'recall@1', 'overlap@10'],
      ...(isRealm ? ['utility, first → last quarter'] : []),
      ...['documents embedded', 'cost of a fresh table, measured / formula', 'seeds'],
    ],
    rows,
  );
}

const TEXT_ARMS = {
  closed: 'no passage, reader as given',
  'closed-trained': 'no passage, reader trained',
  minilm: 'MiniLM (REPLUG), reader as given',
  lsr: 'REPLUG LSR, reader as given',
  bm25: 'BM25, reader as given',
  gold: 'right passage, reader as given',
  frozen: 'MiniLM frozen, reader trained',
  'lsr-trained': 'REPLUG LSR, that reader',
  'bm25-trained': 'BM25, that reader',
  'gold-trained': 'right passage, that reader',
  supervised: 'in-batch with right passages, that reader',
  joint: 'REALM, refreshed',
  'joint-async': 'REALM, refreshed beside training, awaited',
  'joint-write-back': 'REALM, write-back',
  'joint-never': 'REALM, never refreshed',
  'joint-corrector': 'REALM, never refreshed, corrector',
  atlas: 'Atlas (PDist), refreshed',
};
const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`;

/** Table of joint training on questions of real text. */
function textTable(task: string): string {
  const perQuestion = (results: readonly Result[]) =>
    results[0]!.questions!.map((_, q) => mean(results.map(({ questions }) => questions![q]!.nats)));
  const bases = ['closed-trained', 'frozen'].map((arm) => resultsOf(`joint-${task}-${arm}`));
  const rows = Object.entries(TEXT_ARMS).flatMap(([arm, title]) => {
    const results = resultsOf(`joint-${task}-${arm}`);
    if (results.length === 0) return [];
    const nats = perQuestion(results);
    const differences = bases.map((base, i) => {
      if (base.length === 0 || arm === ['closed-trained', 'frozen'][i]) return '';
      const { difference, low, high } = pairedDifference(nats, perQuestion(base));
      return `${signed(difference)} (${signed(low)} to ${signed(high)})`;
    });
    const documents = spent(results, 'documentEncodes');
    return [
      [
        ...[title, mean(nats).toFixed(2), ...differences],
        ...['recall@1', 'recall@20', 'overlap@10'].map((key) => spread(results, key, 2)),
        ...(documents === 0
          ? ['', '']
          : [count(Math.round(documents)), (spent(results, 'refreshMs', 'correctMs') / 1000).toFixed(1)]),
        String(results.length),
      ],
    ];
  });
  if (rows.length === 0) return NOT_MEASURED;
  return table(
    [
      ...[
        'passages and reader',
        'nats an answer',
        'from no passage, trained (95 %)',
        'from MiniLM frozen (95 %)',
      ],
      ...[
        'recall@1',
        'recall@20',
        'overlap@10',
        'documents embedded',
        's of refreshes and correction',
        'seeds',
      ],
    ],
    rows,
  );
}

/** Generated parts on joint training. Every block is filled, with or without a measurement. */
export const jointExperimentBlocks = (): Record<string, string> => ({
  'facts-realm': factsTable('realm'),
  'facts-atlas': factsTable('atlas'),
  'joint-fairytaleqa': textTable('fairytaleqa'),
  'joint-squad': textTable('squad'),
});
