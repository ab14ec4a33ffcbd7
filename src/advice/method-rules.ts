import { count, percent, plural } from '../util/format.ts';
import type { MethodRule } from './rule.ts';

/** Smallest share of the training queries with a teacher's scores for which scores decide. */
const SCORED = 0.5;
/** Smallest mean number of negatives of a query for which the negatives of the data decide. */
const GIVEN_NEGATIVES = 0.5;
/** Most negatives of the data that are recommended for each query of a batch. */
const MOST_NEGATIVES = 4;
/** Mean number of training queries of a right document from which in-batch is recommended. Measured are 1.0 and 3.2. */
const MANY_QUERIES = 2;
/** Batches that a corpus must be larger than for a cache of negatives to add documents. */
const FEW_BATCHES = 4;

/**
 * Rules by which `undrift doctor --data` recommends a method. The first one that applies decides. Rules by the form of the data come
 * first, because other methods cannot use it; then rules by its size, which experiments stand behind.
 */
export const METHOD_RULES: readonly MethodRule[] = [
  {
    id: 'documents-alone',
    when: 'there are documents and no queries',
    applies: ({ statistics }) => statistics.kind === 'texts',
    method: 'crop',
    because: 'two crops of a document serve as query and positive; every other method needs queries',
    reason: ({ statistics }) =>
      `${plural(statistics.documents, 'document')} and no queries: only crop trains on documents alone`,
    evidence: {
      text: 'trained on documents alone, a small encoder reaches nDCG@10 0.111 on NFCorpus and 0.082 on FairytaleQA; training on queries afterwards raises this to 0.222 and 0.121',
      figures: ['0.111', '0.082', '0.222', '0.121'],
      source: 'fine-tuning.md#quality',
    },
  },
  {
    id: 'scored-pairs',
    when: 'records are two texts with a score',
    applies: ({ statistics }) => statistics.kind === 'scored-pairs',
    method: 'scored-pairs',
    because: 'the other methods learn from right documents, not from degrees of similarity',
    reason: () => 'pairs of texts with a score: only scored-pairs learns from degrees of similarity',
    evidence: null,
  },
  {
    id: 'no-training-queries',
    when: 'there are judgements to evaluate with, and no training split',
    applies: ({ statistics }) => statistics.training === null,
    method: 'crop',
    because: 'queries of dev or test are for measuring; what is left to train on are the documents',
    reason: ({ statistics }) =>
      `no training split (splits: ${Object.keys(statistics.splits).join(', ') || 'none'}): what is left to train on are the documents`,
    evidence: {
      text: 'trained on documents alone, a small encoder reaches nDCG@10 0.111 on NFCorpus and 0.082 on FairytaleQA: measure an encoder that is trained already too',
      figures: ['0.111', '0.082'],
      source: 'fine-tuning.md#quality',
    },
  },
  {
    id: 'teacher-scores',
    when: `half of the training queries or more have a positive and negatives with a teacher's scores`,
    applies: ({ statistics }) => statistics.training!.scoredRatio >= SCORED,
    method: 'distill',
    options: ({ statistics }) => ({ negatives: givenNegatives(statistics.training!.negativesPerQuery) }),
    because: 'other methods read past the scores',
    reason: ({ statistics }) =>
      `${percent(statistics.training!.scoredRatio, 0)} of the training queries have a teacher's scores, which only distill learns from`,
    evidence: null,
    alternatives: [{ method: 'in-batch', reason: 'shows what the scores are worth' }],
  },
  {
    id: 'given-negatives',
    when: 'the data gives negatives for half of the training queries or more',
    applies: ({ statistics }) => statistics.training!.negativesPerQuery >= GIVEN_NEGATIVES,
    method: 'in-batch',
    options: ({ statistics }) => ({ negatives: givenNegatives(statistics.training!.negativesPerQuery) }),
    because: 'the negatives were chosen by somebody who knows the data, and in-batch uses them as they are',
    reason: ({ statistics }) =>
      `the data gives ${statistics.training!.negativesPerQuery} negatives a query, which in-batch adds to the documents of a batch`,
    evidence: {
      text: 'with one mined negative a query and small batches nDCG@10 rises by 0.0192 (BM25) and 0.0271 (by an encoder) on the quick-start data, and by 0.0305 and 0.0146 on MedQuAD; with batches of 128 BM25 negatives gained nothing',
      figures: ['+0.0192', '+0.0271', '+0.0305', '+0.0146'],
      source: 'experiments.md#cached-and-in-batch-negatives-on-real-text',
    },
    alternatives: [
      {
        method: 'negative-cache',
        reason: 'finds negatives by itself; it gained more where the data had none',
      },
    ],
  },
  {
    id: 'small-corpus',
    when: `the corpus has at most ${FEW_BATCHES} times as many documents as a batch`,
    applies: ({ statistics, model }) => statistics.documents <= FEW_BATCHES * model.batchSize,
    method: 'in-batch',
    because: 'a batch then holds a large part of all documents, and a cache of negatives has little to add',
    reason: ({ statistics, model }) =>
      `${plural(statistics.documents, 'document')}: a batch of ${model.batchSize} queries sees a large part of them already`,
    evidence: null,
    alternatives: [
      {
        method: 'exhaustive',
        reason: 'takes negatives from all documents, which are cheap to embed when they are few',
      },
    ],
  },
  {
    id: 'many-queries-per-document',
    when: `a right document answers ${MANY_QUERIES} training queries or more on average`,
    applies: ({ statistics }) => statistics.training!.queriesPerPositive >= MANY_QUERIES,
    method: 'in-batch',
    because:
      'on all three such sets that were measured, negatives from a cache gained nothing or cost something',
    reason: ({ statistics: { training } }) =>
      `a right document answers ${training!.queriesPerPositive} training queries on average: negatives from a cache gained nothing on such data, or cost something`,
    evidence: {
      text: 'against in-batch, negative-cache changes nDCG@10 by −0.0310 on FairytaleQA (3.2 queries a document) and by −0.0109 on NFCorpus (31); on SQuAD (4.6) no method is more than 0.0024 above in-batch',
      figures: ['−0.0310', '−0.0109', '+0.0024'],
      source: 'experiments.md#methods-at-their-defaults',
    },
    alternatives: [{ method: 'negative-cache', reason: 'gained most where a document answers one query' }],
  },
  {
    id: 'pairs',
    when: 'in all other cases',
    applies: () => true,
    method: 'negative-cache',
    because:
      'its negatives come from thousands of documents instead of one batch, and only the drawn ones are embedded again',
    reason: ({ statistics: { documents, training } }) =>
      `${count(training!.queries)} training queries for ${plural(training!.positiveDocuments, 'distinct right document')} among ${count(documents)}: negatives from a cache of 4,096 documents are harder than those of a batch`,
    evidence: {
      text: 'over in-batch nDCG@10 rises by 0.0211 on the quick-start data at the defaults, by 0.0665 with batches of 16, and by 0.0728 on MedQuAD with batches of 32',
      figures: ['+0.0211', '+0.0665', '+0.0728'],
      source: 'experiments.md#methods-at-their-defaults',
    },
    alternatives: [
      { method: 'in-batch', reason: 'the cheapest method; embeds less than half as many documents' },
    ],
  },
];

const givenNegatives = (perQuery: number): number =>
  Math.max(1, Math.min(MOST_NEGATIVES, Math.floor(perQuery)));
