import type { LanguageModel } from '../models/language/language-model.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { checkedValues, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import type { Segment } from './language-system.ts';
import { PassageFront, type PassageFrontOptions } from './passage-front.ts';
import type { PassageSource } from './passage-source.ts';
import { oracleReranker } from './rerankers.ts';

/** Passages that were found for one text, with what each is worth to a language model: a record of pairs for training. */
export interface RerankerList {
  /** Text that was searched with. */
  readonly query: string;
  /** Passage with which the text to predict is likeliest. */
  readonly positive: string;
  /** The other passages. */
  readonly negative: readonly string[];
  /** log p(text to predict | passage, context) of the positive, then of the others, in nats. */
  readonly scores: readonly number[];
}

/** Options of lists for training a reranker. */
export const RERANKER_LIST_OPTIONS = {
  /** Passages of each list. Default 8. */
  candidates: {
    type: 'integer',
    value: 'n',
    min: 2,
    default: 8,
    group: 'Passages',
    help: 'passages of each list; a text for which fewer are found has a shorter one, of at least 2',
  },
} as const satisfies OptionTable;

/** Options of `rerankerLists`. */
export interface RerankerListOptions
  extends PassageFrontOptions,
    GivenOptions<typeof RERANKER_LIST_OPTIONS>,
    ComputeOptions {
  /** Ledger to which the costs are added. */
  readonly ledger?: CostLedger | undefined;
}

/**
 * Makes lists with which a cross-encoder is trained as the predictive reranker of in-context RALM, by the loss `marginal-likelihood`. The
 * language model, which is not trained, scores every candidate once. Texts for which fewer than two passages are found give no list.
 *
 * @param segments  running text or questions, of training data
 * @yields lists in the order of the segments
 * @throws UsageError for an option out of range
 */
export async function* rerankerLists(
  model: LanguageModel,
  source: PassageSource,
  segments: Iterable<Segment>,
  options: RerankerListOptions = {},
): AsyncGenerator<RerankerList> {
  const { device, threads, ledger = new CostLedger() } = options;
  const { candidates } = checkedValues(RERANKER_LIST_OPTIONS, options);
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const passages = new PassageFront(model, source.passages, options);
  const scorer = oracleReranker(passages);
  for (const segment of segments) {
    const stretches = passages.stretches(segment).filter(({ query }) => query !== undefined);
    ledger.add('searches', stretches.length);
    const found = await source.find(
      stretches.map(({ query }) => query!),
      candidates,
      ledger,
    );
    const scores = await scorer.scores(stretches, found, ledger, compute);
    for (const [i, { query }] of stretches.entries()) {
      const own = Array.from(found[i]!.rows, (row, place) => ({
        text: source.passages.text(row),
        score: scores[i]![place]!,
      }));
      if (own.length < 2) continue;
      const best = own.reduce((a, b) => (b.score > a.score ? b : a));
      const ordered = [best, ...own.filter((each) => each !== best)];
      yield {
        query: query!.text,
        positive: best.text,
        negative: ordered.slice(1).map(({ text }) => text),
        scores: ordered.map(({ score }) => score),
      };
    }
  }
}
