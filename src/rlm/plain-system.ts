import type { LanguageModel } from '../models/language/language-model.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import { countReading, countScored, type LanguageSystem } from './language-system.ts';
import type { SystemSpec } from './system-spec.ts';

/** Language model alone: the arm `none` of every comparison. */
export function plainSystem(model: LanguageModel): LanguageSystem {
  const ledger = new CostLedger();
  return {
    name: 'none',
    model,
    ledger,
    async score(segments, { onProgress, ...compute } = {}) {
      countReading(ledger, segments);
      const total = countScored(segments);
      const scores = await model.scoreTokens(segments, {
        ...compute,
        onScored: (done) => onProgress?.({ stage: 'score', done, total, unit: 'tokens' }),
      });
      return scores.map(({ logProbabilities }) => logProbabilities);
    },
    async read(segments) {
      return segments.map(({ ids, from }) => ({
        sequences: [ids.subarray(0, from)],
        logWeights: new Float64Array(1),
        rows: new Int32Array(0),
      }));
    },
    async dispose() {},
  };
}

/** The language model alone, as a kind of language system. */
export const none: SystemSpec = {
  id: 'none',
  summary: 'the language model alone',
  options: {},
  open: async (model) => plainSystem(model),
};
