import { CLEAN_OPTIONS } from '../data/clean-data.ts';
import { commandLine } from '../util/command-line.ts';
import { count, percent, plural } from '../util/format.ts';
import type { Facts, SideLengths } from './facts.ts';
import type { FoundWarning, WarningRule } from './rule.ts';

/** Share of the documents with the text of another from which a warning is given. */
const MOST_COPIES = 0.005;
/** Share of too long texts from which a warning is given. */
const MOST_CUT = 0.1;
/** Training queries below which a model trained from nothing has little to learn from. */
const FEW_QUERIES = 300;
/** Queries of a split below which its figures say little. */
const LEAST_EVALUATED = 50;
/** Largest share of the training queries that is recommended to hold out for a split. */
const MOST_HELD_OUT = 0.2;
/** Share of documents that a tokenizer does not know from which a warning is given. */
const MOST_UNKNOWN = 0.05;
/** Length to which a new model is recommended to read, at most: attention costs the square of the length. */
const MOST_TOKENS = 512;
/** Encoder that is recommended where a new one has too little to learn from. */
const ENCODER = 'sentence-transformers/all-MiniLM-L6-v2';

/**
 * Returns the remedy of copying the data by `undrift data clean`. A copy has no place for a teacher's scores, so that data with scores has
 * to be mended in its own files.
 */
function cleaning(
  { path, reading, statistics: { training } }: Facts,
  remedy: string,
  options: Readonly<Record<string, number>> = {},
): Pick<FoundWarning, 'remedy' | 'command'> {
  if (training && training.scoredRatio > 0)
    return {
      remedy: `${remedy}, in the files themselves: a copy by undrift data clean cannot keep a teacher's scores`,
    };
  return {
    remedy,
    command: commandLine('data clean', { out: 'data/clean', ...options, ...reading }, [path]),
  };
}

/** Returns the share of the training queries that a split should have: the default, or what gives it enough queries; at most a fifth. */
const heldOutShare = (queries: number): number =>
  Math.min(
    MOST_HELD_OUT,
    Math.max(CLEAN_OPTIONS.devFraction.default, Math.ceil((100 * LEAST_EVALUATED) / queries) / 100),
  );

/** Returns the shares to hold out for the splits that `undrift data clean` makes. */
function heldOut({ statistics: { training } }: Facts): Record<string, number> {
  const share = heldOutShare(training!.queries);
  return share === CLEAN_OPTIONS.devFraction.default ? {} : { devFraction: share, testFraction: share };
}

/** Rules by which `undrift doctor --data` warns. All that apply are reported, in this order. */
export const WARNING_RULES: readonly WarningRule[] = [
  {
    id: 'shared-queries',
    when: 'a training query has the text of a query of dev or test',
    harm: 'the split measures what was trained on, and its figures are too high',
    find(facts) {
      const shared = Object.entries(facts.statistics.sharedQueries);
      if (shared.length === 0) return undefined;
      const parts = shared.map(([split, queries]) => {
        const all = facts.statistics.splits[split]!.queries;
        return `${count(queries)} in ${split} (${percent(queries / all)} of its queries)`;
      });
      return {
        message: `training queries that are in another split too, which then measures what was trained on: ${parts.join(', ')}`,
        ...(facts.statistics.kind === 'scored-pairs'
          ? { remedy: 'remove these pairs from the training file' }
          : cleaning(facts, 'leave them out of training')),
      };
    },
  },
  {
    id: 'no-dev-split',
    when: 'there are training queries and no dev split',
    harm: 'the last model of a run is kept instead of the best one, and settings are chosen blindly',
    find: (facts) =>
      isTrainable(facts) && !('dev' in facts.statistics.splits)
        ? {
            message: 'no dev split: a run keeps its last model, not its best',
            ...cleaning(facts, 'hold out part of the training queries', heldOut(facts)),
          }
        : undefined,
  },
  {
    id: 'no-test-split',
    when: 'there are training queries and no test split',
    harm: 'nothing measures the finished model on queries that no choice depended on',
    find: (facts) =>
      isTrainable(facts) && !('test' in facts.statistics.splits)
        ? {
            message: 'no test split: nothing measures the finished model',
            ...cleaning(facts, 'hold out part of the training queries', heldOut(facts)),
          }
        : undefined,
  },
  {
    id: 'small-split',
    when: `dev or test has fewer than ${LEAST_EVALUATED} queries`,
    harm: 'differences between models are mostly chance',
    find(facts) {
      const { kind, splits, training } = facts.statistics;
      const [text, texts] = kind === 'scored-pairs' ? ['pair', 'pairs'] : ['query', 'queries'];
      const small = ['dev', 'test'].filter(
        (name) => name in splits && splits[name]!.queries < LEAST_EVALUATED,
      );
      if (small.length === 0 || !training) return undefined;
      const parts = small.map((name) => `${name} has ${plural(splits[name]!.queries, text, texts)}`);
      const message = `${parts.join(', ')}: one ${text} changes a figure by up to ${percent(
        1 / Math.min(...small.map((name) => splits[name]!.queries)),
        0,
      )}`;
      // Splits that have files of their own are not held out, and cannot be made larger that way.
      const canHoldOut =
        kind === 'pairs' && facts.isFile && MOST_HELD_OUT * training.queries >= LEAST_EVALUATED;
      return canHoldOut
        ? { message, ...cleaning(facts, 'hold out larger shares', heldOut(facts)) }
        : { message, remedy: `collect more ${texts}; until then trust large differences only` };
    },
  },
  {
    id: 'copies',
    when: `${percent(MOST_COPIES)} of the documents or more have the text of another one`,
    harm: 'an evaluation counts a copy of the right document as wrong (training does not: copies are never negatives)',
    find(facts) {
      const { duplicateDocuments, documents, kind } = facts.statistics;
      if (kind !== 'pairs' || duplicateDocuments < MOST_COPIES * documents) return undefined;
      if (duplicateDocuments === 0) return undefined;
      return {
        message: `${count(duplicateDocuments)} of ${count(documents)} documents have the text of another one: an evaluation counts the copy that is not judged as wrong`,
        ...cleaning(facts, 'merge them'),
      };
    },
  },
  {
    id: 'own-text',
    when: 'a training query has the text of its own positive',
    harm: 'it teaches nothing',
    find(facts) {
      const { training, kind } = facts.statistics;
      if (!training || training.equalToPositive === 0 || kind !== 'pairs') return undefined;
      return {
        message: `${plural(training.equalToPositive, 'training query has', 'training queries have')} the text of their own positive, and teach nothing`,
        ...cleaning(facts, 'leave them out'),
      };
    },
  },
  {
    id: 'long-documents',
    when: `${percent(MOST_CUT, 0)} of the documents or more are longer than the model reads`,
    harm: 'what stands behind the limit cannot be found',
    find: (facts) => tooLong(facts, 'document', facts.lengths.document),
  },
  {
    id: 'long-queries',
    when: `${percent(MOST_CUT, 0)} of the queries or more are longer than the model reads`,
    harm: 'the rest of the query has no effect',
    find: (facts) => (facts.lengths.query ? tooLong(facts, 'query', facts.lengths.query) : undefined),
  },
  {
    id: 'batch-too-large',
    when: 'a batch has more queries than half of the training queries or of their distinct right documents',
    harm: 'the batches of a run are nearly all the same, or repeat one document, and have few negatives',
    find(facts) {
      const { training } = facts.statistics;
      if (!training) return undefined;
      const { batchSize } = facts.model;
      const distinct = Math.min(training.queries, training.positiveDocuments);
      if (2 * batchSize <= distinct) return undefined;
      const fitting = 2 ** Math.max(1, Math.floor(Math.log2(Math.max(4, distinct / 4))));
      return {
        message:
          `batches of ${batchSize} queries are too large for ${plural(training.queries, 'training query', 'training queries')} ` +
          `with ${plural(training.positiveDocuments, 'distinct right document')}`,
        remedy: 'train with smaller batches',
        corrected: { batchSize: fitting },
      };
    },
  },
  {
    id: 'few-queries',
    when: `there are fewer than ${count(FEW_QUERIES)} training queries, and the model is new`,
    harm: 'a model trained from nothing has little to learn from, and BM25 may find more',
    find(facts) {
      const { kind, training, scripts } = facts.statistics;
      if (kind !== 'pairs' || !training || !facts.model.isNew || training.queries >= FEW_QUERIES)
        return undefined;
      const isLatin = (scripts.Latin ?? 0) >= 0.9;
      return {
        message: `${plural(training.queries, 'training query', 'training queries')}: a model trained from nothing has little to learn from, and BM25 may find more`,
        remedy: `start from a trained encoder${isLatin ? '; this one is for English' : ' of your language'}`,
        ...(isLatin && { options: { model: ENCODER } }),
      };
    },
  },
  {
    id: 'unknown-tokens',
    when: `the tokenizer of a given model does not know most of the text of ${percent(MOST_UNKNOWN, 0)} of the documents or more`,
    harm: 'the model cannot tell these documents apart',
    find(facts) {
      const { unknownRatio } = facts;
      if (unknownRatio === null || unknownRatio < MOST_UNKNOWN) return undefined;
      return {
        message: `the tokenizer of ${facts.model.name} does not know most of the text of ${percent(unknownRatio, 0)} of the documents`,
        remedy:
          'take a model of this language, or train one from nothing, whose vocabulary is made from the data',
        options: { model: 'transformer' },
      };
    },
  },
];

const isTrainable = ({ statistics: { kind, training } }: Facts): boolean =>
  kind === 'pairs' && training !== null;

/** Returns the warning about texts that are longer than what the model reads. */
function tooLong(
  { model, exactLengths }: Facts,
  side: 'query' | 'document',
  { cutRatio, p95 }: SideLengths,
): FoundWarning | undefined {
  if (cutRatio < MOST_CUT) return undefined;
  const [key, texts] =
    side === 'query' ? (['maxQueryTokens', 'queries'] as const) : (['maxDocTokens', 'documents'] as const);
  const read = model.maxTokens[side];
  const wanted = Math.ceil((exactLengths ? p95 : 1.25 * p95) / 32) * 32;
  const length = Math.min(wanted, model.positions ?? MOST_TOKENS);
  const message =
    `${cutRatio === 1 ? `all ${texts}` : `${exactLengths ? '' : 'at least '}${percent(cutRatio, 0)} of the ${texts}`} are longer than the ${read} tokens ` +
    `that ${model.isNew ? `a new ${model.name} model` : model.name} reads`;
  if (length <= read)
    return {
      message,
      remedy:
        side === 'document'
          ? `cut the documents into passages; ${model.name} has ${model.positions} positions`
          : 'shorten the queries, or take a model that reads more',
    };
  return {
    message,
    remedy:
      side === 'document' && length < wanted
        ? 'cut the documents into passages; or read more of them, in more time'
        : 'read more of them, in more time; compare both on the dev split',
    options: { [key]: length },
  };
}
