import type { LanguageModel } from '../models/language/language-model.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
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

/**
 * Makes lists with which a cross-encoder is trained as the predictive reranker of in-context RALM, by the loss `marginal-likelihood`. The
 * language model, which is not trained, scores every candidate once. Texts for which fewer than two passages are found give no list.
 *
 * @param segments  running text or questions, of training data
 * @param options.candidates  passages of each list, ≥ 2. Default 8
 * @yields lists in the order of the segments
 */
export async function* rerankerLists(
  model: LanguageModel,
  source: PassageSource,
  segments: Iterable<Segment>,
  {
    candidates = 8,
    ...options
  }: PassageFrontOptions & { readonly candidates?: number | undefined } & ComputeOptions = {},
): AsyncGenerator<RerankerList> {
  const { device, threads, ...front } = options;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const passages = new PassageFront(model, source.passages, front);
  const scorer = oracleReranker(passages);
  const ledger = new CostLedger();
  for (const segment of segments) {
    const stretches = passages.stretches(segment).filter(({ query }) => query !== undefined);
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
