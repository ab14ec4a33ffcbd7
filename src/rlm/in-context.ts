import type { CrossEncoder } from '../models/cross-encoder/cross-encoder.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { checkedValues, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import { frontSystem } from './front-system.ts';
import type { LanguageSystem } from './language-system.ts';
import { FRONT_OPTIONS, PassageFront, type PassageFrontOptions } from './passage-front.ts';
import type { PassageSource } from './passage-source.ts';
import {
  crossEncoderReranker,
  type PassageReranker,
  RERANKER_OPTIONS,
  RERANKERS,
  type RerankerName,
  rerankers,
} from './rerankers.ts';
import { SOURCE_OPTIONS, withSource } from './source-options.ts';
import type { ControlArm, SystemContext, SystemSpec } from './system-spec.ts';

/** Options of reading one passage that is chosen among several. */
export const CHOICE_OPTIONS = {
  /** Passages that are found for each retrieval, among which the reranker chooses. Default 1, or 4 with a reranker. */
  candidates: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: '1, or 4 with a reranker',
    group: 'Choice among passages',
    help: 'passages that are found for each retrieval, among which the reranker chooses one',
  },
  ...RERANKER_OPTIONS,
} as const satisfies OptionTable;

/** Options of `inContextSystem`. */
export interface InContextOptions extends PassageFrontOptions, GivenOptions<typeof CHOICE_OPTIONS> {
  /** Reranker, or the name of one that the language model itself is. Default: the source's best passage is read. */
  readonly reranker?: RerankerName | PassageReranker | undefined;
}

/** Candidates of a reranker, by default. */
const CANDIDATES = 4;

/**
 * Makes the system in-context RALM: one passage in front of the context of a language model, which is not trained. Running text is
 * retrieved for every `stride` tokens, with the last `queryTokens` tokens before them; the text before the first token to score must not
 * be empty, or that stretch is read without a passage. A question is retrieved for once, with its own text.
 *
 * The leak filter of the source gets the document of the segment and the tokens to score.
 *
 * @param source  source of passages, which belongs to the caller
 * @throws UsageError for an option out of range
 * @paper Ram et al. 2023: "In-Context Retrieval-Augmented Language Models".
 */
export function inContextSystem(
  model: LanguageModel,
  source: PassageSource,
  options: InContextOptions = {},
): LanguageSystem {
  const front = new PassageFront(model, source.passages, options);
  const { candidates, ...choice } = checkedValues(CHOICE_OPTIONS, options);
  const reranker =
    typeof options.reranker === 'string' ? rerankers[options.reranker](front, choice) : options.reranker;
  return frontSystem({
    name: 'in-context',
    front,
    source,
    candidates: candidates ?? (reranker ? CANDIDATES : 1),
    async choose(stretches, found, ledger, compute) {
      const scores =
        (await reranker?.scores(stretches, found, ledger, compute)) ?? found.map((each) => each.scores);
      return found.map(({ rows }, i) => ({
        rows: rows.slice(best(scores[i]!), best(scores[i]!) + 1),
        logWeights: new Float64Array(1),
      }));
    },
  });
}

/** Returns the place of the largest value, the first of several. */
function best(values: ArrayLike<number>): number {
  let place = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[place]!) place = i;
  return place;
}

/** Word for reading the best passage of the retriever. */
const NO_RERANKER = 'none';

/** Options of in-context RALM, as commands take them. */
const OPTIONS = {
  ...SOURCE_OPTIONS,
  /** Reranker of the passages found: `none` (default), `log-probability`, the upper bound `oracle`, or the folder of a cross-encoder. */
  reranker: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    default: NO_RERANKER,
    group: 'Choice among passages',
    help: 'choice among the passages found: none for the best one of the retriever, log-probability for the one with which the last tokens of the context are likeliest, a folder of a cross-encoder, or, as an upper bound, oracle for the one with which the text to predict is likeliest',
  },
  ...CHOICE_OPTIONS,
  ...FRONT_OPTIONS,
} as const satisfies OptionTable;

/** Options in which controls equal the arms: passages that may be read, and how they are put in front. */
const { retriever: _retriever, passageSeed: _passageSeed, ...READABLE } = SOURCE_OPTIONS;
const takes = Object.keys({ ...READABLE, ...FRONT_OPTIONS });

/** Controls of systems that put passages in front: a random passage, and the candidate that makes the text to predict likeliest. */
export const FRONT_CONTROLS: readonly ControlArm[] = [
  { name: 'random', method: 'in-context', options: { retriever: 'random', reranker: NO_RERANKER }, takes },
  { name: 'oracle', method: 'in-context', options: { reranker: 'oracle' }, takes },
];

/** In-context RALM as a kind of language system. */
export const inContext: SystemSpec = {
  id: 'in-context',
  summary: 'one passage in front of the context',
  paper: {
    title: 'In-Context Retrieval-Augmented Language Models',
    year: 2023,
    url: 'https://arxiv.org/abs/2302.00083',
  },
  options: OPTIONS,
  controls: FRONT_CONTROLS,
  async open(model, options, context) {
    const { reranker: name, ...given } = checkedValues(OPTIONS, options);
    const known = RERANKERS.find((id) => id === name);
    const encoder = name === NO_RERANKER || known ? undefined : await loadReranker(name, context);
    const rerankerFor = (source: PassageSource) =>
      encoder ? crossEncoderReranker(encoder, source.passages) : known;
    try {
      const system = await withSource(options, context, (source) =>
        inContextSystem(model, source, { ...given, reranker: rerankerFor(source) }),
      );
      return {
        ...system,
        async dispose() {
          await system.dispose();
          await encoder?.dispose();
        },
      };
    } catch (error) {
      await encoder?.dispose();
      throw error;
    }
  },
};

/** Loads a cross-encoder as the reranker. */
const loadReranker = async (folder: string, { onProgress, onNote }: SystemContext): Promise<CrossEncoder> =>
  await loadCrossEncoder(folder, {
    option: 'reranker',
    ...(onProgress && { onProgress }),
    ...(onNote && { onNote }),
  });
