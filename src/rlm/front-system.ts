import type { LanguageModel } from '../models/language/language-model.ts';
import { firstScored, type ScoredTokens } from '../models/language/score-tokens.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { logSumExp } from '../util/log-sum-exp.ts';
import {
  countReading,
  type LanguageSystem,
  type Reading,
  type Segment,
  scoredTokens,
} from './language-system.ts';
import type { PassageFront, Stretch } from './passage-front.ts';
import type { FoundPassages, PassageSource } from './passage-source.ts';

/** Stretches that are retrieved for and scored together. */
const GROUP = 64;

/** Passages that the model reads for one stretch, each in a sequence of its own. */
export interface ChosenPassages {
  /** i32[n], n ≥ 1: rows of the passages. */
  readonly rows: Int32Array;
  /** f64[n]: logarithms of their weights, which sum to 1. */
  readonly logWeights: Float64Array;
}

/** Parts of a system that puts passages in front of the context. */
export interface FrontSystemParts {
  readonly name: string;
  readonly front: PassageFront;
  readonly source: PassageSource;
  /** Number of passages to find for each stretch. */
  readonly candidates: number;
  /** Chooses among the passages found, of which there is at least one for each stretch. */
  choose(
    stretches: readonly Stretch[],
    found: readonly FoundPassages[],
    ledger: CostLedger,
    compute: ComputeOptions,
  ): Promise<ChosenPassages[]>;
}

const NONE: ChosenPassages = { rows: new Int32Array(0), logWeights: new Float64Array(1) };

/**
 * Makes a system that reads chosen passages in front of the context. With several passages the probabilities of each token are mixed,
 * log p(y_t) = log Σ_d λ_d p(y_t | d, y_<t). Where no passage is found, the model reads the context alone.
 */
export function frontSystem(parts: FrontSystemParts): LanguageSystem {
  const { name, front, source, candidates } = parts;
  const { model } = front;
  const ledger = new CostLedger();

  /** Passages of questions, for which the answer may be scored and then generated. */
  const ofQuestions = new WeakMap<Segment, ChosenPassages>();

  const read = async (stretches: readonly Stretch[], compute: ComputeOptions): Promise<ChosenPassages[]> => {
    const chosen = stretches.map(({ segment }) => ofQuestions.get(segment) ?? NONE);
    const asking = [...stretches.keys()].filter(
      (i) => stretches[i]!.query !== undefined && !ofQuestions.has(stretches[i]!.segment),
    );
    if (asking.length === 0) return chosen;
    const queries = asking.map((i) => stretches[i]!.query!);
    ledger.add('searches', queries.length);
    const found = await source.find(queries, candidates, ledger);
    const some = [...asking.keys()].filter((i) => found[i]!.rows.length > 0);
    const best = await parts.choose(
      some.map((i) => stretches[asking[i]!]!),
      some.map((i) => found[i]!),
      ledger,
      compute,
    );
    for (const [place, i] of some.entries()) chosen[asking[i]!] = best[place]!;
    for (const i of asking) {
      const { segment } = stretches[i]!;
      if (segment.query !== undefined) ofQuestions.set(segment, chosen[i]!);
    }
    return chosen;
  };

  const sequencesOf = (stretch: Stretch, { rows }: ChosenPassages) =>
    rows.length === 0
      ? [front.sequence(stretch, undefined)]
      : Array.from(rows, (row) => front.sequence(stretch, row));

  return {
    name,
    model,
    ledger,
    async score(segments, { onProgress, ...compute } = {}) {
      const scores = segments.map((segment) => new Float32Array(scoredTokens(segment)));
      const all = segments.flatMap((segment, index) =>
        front.stretches(segment).map((stretch) => ({ stretch, index })),
      );
      const total = scores.reduce((sum, { length }) => sum + length, 0);
      let done = 0;
      for (const group of groupsOf(all)) {
        const chosen = await read(
          group.map(({ stretch }) => stretch),
          compute,
        );
        const sequences = group.map(({ stretch }, i) => sequencesOf(stretch, chosen[i]!));
        const scored = await scoreSequences(model, sequences.flat(), ledger, compute);
        let at = 0;
        for (const [i, { stretch, index }] of group.entries()) {
          const parts = scored.slice(at, at + sequences[i]!.length);
          at += parts.length;
          const { segment, from, end } = stretch;
          scores[index]!.set(mixed(parts, chosen[i]!.logWeights), from - firstScored(segment));
          done += end - from;
        }
        onProgress?.({ stage: 'score', done, total, unit: 'tokens' });
      }
      return scores;
    },
    async read(segments, { onProgress: _, ...compute } = {}) {
      const stretches = segments.map((segment) => front.whole(segment));
      const readings: Reading[] = [];
      for (const group of groupsOf(stretches)) {
        const chosen = await read(group, compute);
        for (const [i, stretch] of group.entries()) {
          readings.push({
            sequences: sequencesOf(stretch, chosen[i]!).map(({ ids, from }) => ids.subarray(0, from)),
            logWeights: chosen[i]!.logWeights,
            rows: chosen[i]!.rows,
          });
        }
      }
      return readings;
    },
    dispose: async () => {},
  };
}

/** Scores sequences, and counts them. */
export async function scoreSequences(
  model: LanguageModel,
  sequences: readonly (ScoredTokens & { readonly ids: Int32Array })[],
  ledger: CostLedger,
  compute: ComputeOptions,
): Promise<Float32Array[]> {
  countReading(ledger, sequences);
  return (await model.scoreTokens(sequences, compute)).map(({ logProbabilities }) => logProbabilities);
}

/** Computes log Σ_d λ_d p_d of each token. A single sequence keeps its bits. */
function mixed(parts: readonly Float32Array[], logWeights: Float64Array): Float32Array {
  if (parts.length === 1) return parts[0]!;
  return parts[0]!.map((_, t) => logSumExp(parts.map((part, d) => logWeights[d]! + part[t]!)));
}

function* groupsOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += GROUP) yield items.slice(start, start + GROUP);
}
