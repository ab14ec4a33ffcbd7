/**
 * @file Makes the tables of docs/language-model-experiments.md from bench/results/rlm/, which the programs of bench/rlm/ write.
 */
import { existsSync, readdirSync } from 'node:fs';
import { type Difference, mean, pairedDifference } from '../../bench/rlm/results.ts';
import { count } from '../../src/util/format.ts';
import { jointExperimentBlocks } from './joint-experiments.ts';
import { inRepository, type MadePage, NOT_MEASURED, readResult, markdownTable as table } from './page.ts';
import { tokenExperimentBlocks } from './token-experiments.ts';

const FOLDER = 'rlm';
/** Result of one arm: nats of each question or article. */
interface ArmFile {
  readonly arm: string;
  readonly ledger?: Readonly<Record<string, number>>;
  readonly means: Readonly<Record<string, number>>;
}
interface Unit {
  readonly nats: number;
  readonly tokens: number;
}
type PassageFile = ArmFile & { readonly units: readonly Unit[] };
type LsrFile = ArmFile & { readonly seed: number; readonly questions: readonly Unit[] };

interface KnnFile {
  readonly tokens: number;
  readonly settings: { readonly testArticles: number };
  readonly rows: Readonly<
    Record<
      string,
      {
        readonly perplexity: number;
        readonly difference: number;
        readonly low: number;
        readonly high: number;
        readonly weights?: { readonly temperature: number; readonly lambda: number };
      }
    >
  >;
}

interface RetroSummary {
  readonly articles: number;
  readonly seeds: readonly number[];
  readonly readings: Readonly<
    Record<
      string,
      {
        readonly natsPerToken: number;
        readonly fromOff: Difference;
        readonly fromShuffled?: Difference;
        readonly perplexities: readonly number[];
      }
    >
  >;
}

const files = (): string[] => {
  const folder = inRepository(`bench/results/${FOLDER}`);
  return existsSync(folder) ? readdirSync(folder).sort() : [];
};
const read = <T>(file: string): T | undefined =>
  files().includes(file) ? readResult<T>(`${FOLDER}/${file}`) : undefined;

const signed = (value: number, digits: number): string =>
  `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;

/** Formats a difference with its 95 % interval. */
const interval = ({ difference, low, high }: Omit<Difference, 'confidence'>, digits: number): string =>
  `${signed(difference, digits)} (${signed(low, digits)} to ${signed(high, digits)})`;

const PASSAGE_ARMS = {
  none: 'no passage',
  random: 'random passage',
  bm25: 'BM25, the best',
  dense: 'MiniLM, the best',
  replug: 'REPLUG, MiniLM, 4 passages',
  rerank: 'BM25 of 4, reranked by log-probability',
  oracle: 'BM25 of 4, the best for the answer (oracle)',
  gold: 'judged passage',
};

/** Table of passages in front of a question or an article. */
function passageTable(task: string, isText: boolean): string {
  const results = new Map<string, PassageFile>();
  for (const arm of Object.keys(PASSAGE_ARMS)) {
    const file = read<PassageFile>(`in-context-${task}-${arm}.json`);
    if (file) results.set(arm, file);
  }
  const none = results.get('none');
  if (!none) return NOT_MEASURED;
  const nats = ({ units }: PassageFile) => units.map((unit) => unit.nats / (isText ? unit.tokens : 1));
  const digits = isText ? 4 : 2;
  const bm25 = results.get('bm25');
  const versus = (file: PassageFile, base: PassageFile | undefined) =>
    base && base !== file ? interval(pairedDifference(nats(file), nats(base)), digits) : '';
  const rows = [...results].map(([arm, file]) => {
    const { means, ledger } = file;
    const figures = isText
      ? [means.natsPerToken!.toFixed(4), means.perplexity!.toFixed(2)]
      : [
          means.natsPerAnswer!.toFixed(2),
          `${(100 * means.exactMatch!).toFixed(1)} %`,
          (100 * means.f1!).toFixed(1),
        ];
    return [
      PASSAGE_ARMS[arm as keyof typeof PASSAGE_ARMS],
      ...figures,
      versus(file, none),
      arm === 'none' ? '' : versus(file, bm25),
      count(ledger?.readTokens ?? 0),
    ];
  });
  const head = isText
    ? ['in front', 'nats a token', 'perplexity', 'from none (95 %)', 'from BM25 (95 %)', 'tokens read']
    : [
        'in front',
        'nats an answer',
        'exact match',
        'F1',
        'from none (95 %)',
        'from BM25 (95 %)',
        'tokens read',
      ];
  const units = isText ? 'articles' : 'questions';
  return `${table(head, rows)}\n\n${count(none.units.length)} ${units}.`;
}

const KNN_ROWS = {
  none: 'language model alone',
  k1: 'k = 1',
  k8: 'k = 8',
  k64: 'k = 64',
  k1024: 'k = 1,024',
  cache: 'continuous cache alone',
  both: 'k = 1,024 and cache',
};
const KNN_ARMS = { quarter: 'a quarter', half: 'half', full: 'all', random: 'all, random keys' };

/** Table of kNN-LM on one set of texts. */
function knnTable(name: string): string {
  const full = read<KnnFile>(`knn-lm-${name}-full.json`);
  if (!full) return NOT_MEASURED;
  const rows = (file: KnnFile, labels: readonly string[]) =>
    labels.flatMap((label) => {
      const row = file.rows[label];
      if (!row) return [];
      return [
        [
          row.perplexity.toFixed(2),
          label === 'none' ? '' : interval(row, 4),
          row.weights && row.weights.lambda > 0 ? row.weights.lambda.toFixed(2) : '',
        ],
      ];
    });
  const byNeighbours = Object.entries(KNN_ROWS).flatMap(([label, title]) =>
    rows(full, [label]).map((cells) => [count(full.tokens), title, ...cells]),
  );
  const bySize = Object.entries(KNN_ARMS).flatMap(([arm, title]) => {
    const file = arm === 'full' ? undefined : read<KnnFile>(`knn-lm-${name}-${arm}.json`);
    return file
      ? rows(file, ['k1024']).map((cells) => [`${count(file.tokens)} (${title})`, 'k = 1,024', ...cells])
      : [];
  });
  const head = ['tokens in the datastore', 'mixed in', 'perplexity', 'nats a token, from alone (95 %)', 'λ'];
  return `${table(head, [...byNeighbours, ...bySize])}\n\n${full.settings.testArticles} test documents.`;
}

const LSR_ARMS = {
  none: 'no passage',
  random: '4 random passages',
  replug: 'REPLUG: MiniLM as it is',
  'lsr-never': 'LSR, table never refreshed',
  'lsr-refreshed': 'LSR, refreshed',
  'lsr-corrector': 'LSR, never refreshed, corrector',
  'lsr-write-back': 'LSR, write-back',
  'lsr-shuffled': 'LSR, shuffled teacher (control)',
  gold: 'judged passage',
};

/** Table of REPLUG LSR on one task. */
function lsrTable(task: string): string {
  const found = new Map<string, LsrFile[]>();
  for (const arm of Object.keys(LSR_ARMS)) {
    const own = files().filter((file) => new RegExp(`^replug-lsr-${task}-${arm}-\\d+\\.json$`).test(file));
    if (own.length > 0)
      found.set(
        arm,
        own.map((file) => readResult<LsrFile>(`${FOLDER}/${file}`)),
      );
  }
  const base = found.get('replug');
  if (!base) return NOT_MEASURED;
  const perQuestion = (all: readonly LsrFile[]) =>
    all[0]!.questions.map((_, q) => mean(all.map(({ questions }) => questions[q]!.nats)));
  const figure = (all: readonly LsrFile[], key: string, digits: number) => {
    const values = all.map(({ means }) => means[key] ?? Number.NaN);
    return Number.isNaN(values[0]) ? '' : mean(values).toFixed(digits);
  };
  const spent = (all: readonly LsrFile[], key: string) =>
    all[0]!.ledger ? count(Math.round(mean(all.map(({ ledger }) => ledger?.[key] ?? 0)))) : '';
  const rows = [...found].map(([arm, all]) => {
    const seeds = all.map(({ questions }) => mean(questions.map(({ nats }) => nats)));
    const spread = seeds.length > 1 ? ` (${seeds.map((value) => value.toFixed(2)).join(', ')})` : '';
    return [
      LSR_ARMS[arm as keyof typeof LSR_ARMS],
      `${mean(seeds).toFixed(2)}${spread}`,
      arm === 'replug' ? '' : interval(pairedDifference(perQuestion(all), perQuestion(base)), 2),
      figure(all, 'recall@4', 3),
      figure(all, 'devAgreement', 3),
      spent(all, 'documentEncodes'),
      spent(all, 'readerPassages'),
    ];
  });
  const head = [
    'passages',
    'nats an answer (seeds)',
    'from REPLUG (95 %)',
    'recall@4',
    'agreement, dev',
    'documents embedded',
    'passages read by the teacher',
  ];
  return `${table(head, rows)}\n\n${base[0]!.questions.length} test questions.`;
}

const RETRO_READINGS = {
  off: 'base, no neighbours',
  true: 'neighbours',
  shuffled: 'shuffled neighbours, trained and read',
  neighbour: 'neighbour without continuation',
  continuation: 'continuation without neighbour',
  'true-shuffled': 'trained with neighbours, read shuffled',
  'true-random': 'trained with neighbours, read random chunks',
  'true-k4': 'trained with 2 neighbours, read 4',
  'true-k8': 'trained with 2 neighbours, read 8',
  'true-overlap': 'without neighbours that share a quarter of the chunk',
};

/** Table of RETRO. */
function retroTable(): string {
  const summary = read<RetroSummary>('retro-summary.json');
  if (!summary) return NOT_MEASURED;
  const rows = Object.entries(RETRO_READINGS).flatMap(([reading, title]) => {
    const own = summary.readings[reading];
    if (!own) return [];
    return [
      [
        title,
        own.natsPerToken.toFixed(4),
        own.perplexities.map((value) => value.toFixed(2)).join(', '),
        reading === 'off' ? '' : interval(own.fromOff, 4),
        reading === 'off' || reading === 'shuffled' || !own.fromShuffled ? '' : interval(own.fromShuffled, 4),
      ],
    ];
  });
  const head = [
    'reads',
    'nats a token',
    'perplexity of each seed',
    'from the base (95 %)',
    'from shuffled (95 %)',
  ];
  const { articles, seeds } = summary;
  return `${table(head, rows)}\n\n${articles} test articles, ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'}.`;
}

/** Makes the generated parts of docs/language-model-experiments.md. */
export function languageModelExperimentsPage(): MadePage {
  return {
    page: 'docs/language-model-experiments.md',
    blocks: {
      'knn-wikipedia': knnTable('wikipedia'),
      'knn-medquad': knnTable('medquad'),
      'knn-api-docs': knnTable('api-docs'),
      'in-context-squad': passageTable('squad', false),
      'in-context-fairytaleqa': passageTable('fairytaleqa', false),
      'in-context-wikipedia': passageTable('wikipedia', true),
      'lsr-fairytaleqa': lsrTable('fairytaleqa'),
      retro: retroTable(),
      ...jointExperimentBlocks(),
      ...tokenExperimentBlocks(),
    },
  };
}
