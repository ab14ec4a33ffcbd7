import { CROP_TASKS, Crops } from '../text/crops.ts';
import { sentenceEnds } from '../text/sentence-ends.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { type OptionTable, optionValues, withDefaults } from '../util/option-table.ts';
import type { Method, MethodContext, MethodOptionValues, RunningMethod, RunPlan } from './contract/method.ts';
import { inBatch } from './in-batch.ts';
import { MOMENTUM_OPTIONS, momentumQueue } from './momentum-queue.ts';
import { MATRYOSHKA_OPTIONS } from './step/score-loss.ts';

/** Options of how crops are cut, and of the queue of earlier ones. */
export const CROP_OPTIONS = {
  /** How query and positive are cut from a document. */
  cropTask: {
    type: 'choice',
    choices: CROP_TASKS,
    default: 'independent',
    help: 'two spans of a document (independent), or a sentence and the text around it (inverse-cloze)',
    group: 'Crops',
  },
  /** Least length of a crop, as a share of the tokens of its window. */
  cropMin: {
    type: 'number',
    above: 0,
    max: 1,
    default: 0.05,
    help: 'least length of a crop, as a share of the tokens of its window',
    group: 'Crops',
  },
  /** Greatest length of a crop, as a share of the tokens of its window. */
  cropMax: {
    type: 'number',
    above: 0,
    max: 1,
    default: 0.5,
    help: 'greatest length of a crop, as a share of the tokens of its window',
    group: 'Crops',
  },
  /** Length, in tokens, of the window that both crops are cut from. The window lies at a random place of the document. */
  cropWindow: {
    type: 'integer',
    min: 8,
    max: 65_536,
    default: 256,
    help: 'tokens of the part of a document that both crops are cut from, at a random place',
    group: 'Crops',
  },
  /** Probability with which each token of a crop is left out. */
  cropDelete: {
    type: 'number',
    min: 0,
    below: 1,
    default: 0.1,
    help: 'probability with which each token of a crop is left out',
    group: 'Crops',
  },
  /** `inverse-cloze`: probability with which the query is removed from the text around it. */
  cropRemove: {
    type: 'number',
    min: 0,
    max: 1,
    default: 0.9,
    help: 'inverse-cloze: probability with which the sentence is taken out of the text around it',
    group: 'Crops',
  },
  /**
   * Number of earlier positives that are negatives of each crop, embedded by a slow encoder; 0 for the positives of the batch
   * alone.
   */
  queueSize: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'earlier positives that are negatives too, embedded by a slow encoder; 0 for those of the batch alone',
    group: 'Crops',
  },
} as const satisfies OptionTable;

const OPTIONS = {
  ...CROP_OPTIONS,
  ...withDefaults(MOMENTUM_OPTIONS, { positives: 'momentum' }),
  ...MATRYOSHKA_OPTIONS,
};

/**
 * Unsupervised pre-training on raw text, without queries or judgements. Two random parts of one document are query and positive;
 * parts of other documents are negatives.
 *
 *   window  = up to `cropWindow` tokens of the document, at a random place
 *   query, positive = two spans of it, lengths uniform between the shares `cropMin` and `cropMax` of the window, places uniform,
 *                     each token left out with probability `cropDelete`
 *   L = (1/B) Σ_i [ log Σ_j exp(q_i·d_j / τ) − q_i·d_i / τ ],     j over the positives of the batch, and the queue
 *
 * With `cropTask` `inverse-cloze` the query is a sentence, and the positive is the window around it. The sentence is removed from
 * the window with probability `cropRemove` (Lee et al., arXiv:1906.00300). In either task, query and positive share the subject
 * of the document and some of its words: the encoder learns to tell documents apart by both.
 *
 * Without a queue, the negatives are those of `in-batch`. With `queueSize` K, the last K positives are negatives too, embedded by
 * a slow encoder as in `momentum-queue`; the options `momentum` and `positives` are those of that method. Earlier crops of a
 * document in the queue are not its negatives, and neither are crops of documents with the same text. Crops are cut from token
 * ids, and follow from seed and step: every epoch has others.
 *
 * The result is a starting point for the other methods (`--model RUN`), so that their first cache is not that of a random
 * encoder. During training it is measured on the split `held-out`: up to 1,000 documents, at most a twentieth of all, which are
 * not trained on. The second half of each must find its first half among the first halves of all documents. `--eval-split dev`
 * takes a split of the data set instead.
 *
 * Cost per step: B queries and B documents embedded, each a crop. Memory: 2 or 4 bytes for each token of the corpus.
 *
 * On medquad, zero-shot nDCG@10 of 500 test queries (`--model transformer --layers 2 --hidden 128 --max-query-tokens 32
 * --max-doc-tokens 96 --steps 600`, one seed) is 0.083 for the untrained encoder and 0.363 after training. With `--lr 1e-3` it is
 * 0.360, although that run was better on the held-out documents (0.353 against 0.330).
 *
 * Differs from Contriever: scores are cosines divided by τ unless `--no-normalize` is given; the window lies anywhere in its
 * document instead of on a grid of 256 tokens over all of them; the batch's other positives are negatives besides the queue; the
 * default of `momentum` is for short runs.
 */
export const crop: Method = {
  id: 'crop',
  aliases: ['contriever', 'inverse-cloze'],
  summary: 'unsupervised pre-training on raw text: two random parts of a document are to find each other',
  paper: {
    title: 'Unsupervised Dense Information Retrieval with Contrastive Learning',
    year: 2022,
    url: 'https://arxiv.org/abs/2112.09118',
  },
  trainsOn: 'texts',
  options: OPTIONS,
  check(plan) {
    const { cropMin, cropMax } = optionValues(OPTIONS, plan.options);
    if (cropMin > cropMax) {
      throw new UsageError(`${option('cropMin', cropMin)} is more than ${option('cropMax', cropMax)}`);
    }
    const { method, options } = within(plan.options);
    method.check?.({ ...plan, options });
  },
  describe,
  start,
};

/** Returns the method that crops are trained with, and its options. */
function within(given: MethodOptionValues): { method: Method; options: MethodOptionValues } {
  const { queueSize, momentum, positives, matryoshka, matryoshkaWeights } = optionValues(OPTIONS, given);
  const sizes = { matryoshka, matryoshkaWeights };
  if (queueSize === 0) return { method: inBatch, options: optionValues(inBatch.options, sizes) };
  return {
    method: momentumQueue,
    options: optionValues(momentumQueue.options, { ...sizes, cacheSize: queueSize, momentum, positives }),
  };
}

function describe(plan: RunPlan): string[] {
  const { cropTask, cropMin, cropMax, cropWindow } = optionValues(OPTIONS, plan.options);
  const percent = (ratio: number) => `${Number((100 * ratio).toFixed(2))} %`;
  const share = `${percent(cropMin)} to ${percent(cropMax)} of a window of up to ${cropWindow} tokens`;
  const { method, options } = within(plan.options);
  return [
    cropTask === 'independent'
      ? `query and positive: two random spans of a document, each ${share}`
      : `query and positive: a sentence of a document, ${share}, and the text around it`,
    ...method.describe({ ...plan, options }),
  ];
}

async function start(context: MethodContext): Promise<RunningMethod> {
  const { retriever, documents, seed } = context;
  const given = optionValues(OPTIONS, context.options);
  const crops = new Crops(documents, {
    frames: { query: retriever.frame('query'), document: retriever.frame('document') },
    options: {
      task: given.cropTask,
      minRatio: given.cropMin,
      maxRatio: given.cropMax,
      window: given.cropWindow,
      deleteRatio: given.cropDelete,
      removeRatio: given.cropRemove,
    },
    seed,
    sentenceEnds: sentenceEnds(retriever.tokenizer),
  });
  const { method, options } = within(given);
  const inner = await method.start({ ...context, options });
  // The inner method's diagnosis is left out: it would embed whole texts, but the queue holds crops.
  return {
    begin: () => inner.begin(),
    step: (batch, draw) => inner.step({ ...batch, tokens: crops.cut(batch.positiveRows, draw) }, draw),
    updated: (step) => inner.updated(step),
    inspect: () => inner.inspect(),
    state: () => inner.state(),
    restore: (state) => inner.restore(state),
    dispose: () => inner.dispose(),
  };
}
