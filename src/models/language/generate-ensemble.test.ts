import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { logSumExp } from '../../util/log-sum-exp.ts';
import { type EnsembleWeights, generateFromEnsemble } from './generate-ensemble.ts';
import { LanguageModel } from './language-model.ts';
import { TextStream } from './text-stream.ts';

const compute = { threads: 1 };
const model = await LanguageModel.load(fileURLToPath(new URL('./fixtures/causal/gpt2', import.meta.url)));
afterAll(() => model.dispose());
const sequences = ['hel', 'Lo k', 'mm'].map((text) => [...model.tokenizer.encodeRaw(text)]);
const TOKENS = 5;

/** Chooses each token by the likelihoods of all continuations, and returns the text. */
async function byLikelihoods(shares: readonly number[], weights: EnsembleWeights): Promise<string> {
  const written: number[] = [];
  const all = Array.from({ length: model.decoder.vocabSize }, (_, id) => id);
  while (written.length < TOKENS) {
    const prompts = all.flatMap((id) =>
      sequences.map((sequence) => ({
        ids: Int32Array.of(...sequence, ...written, id),
        from: sequence.length + (weights === 'posterior' ? 0 : written.length),
      })),
    );
    const found = await model.logLikelihoods(prompts, compute);
    const scores = all.map((id) =>
      logSumExp(shares.map((share, d) => Math.log(share) + found[id * sequences.length + d]!)),
    );
    const best = scores.indexOf(Math.max(...scores));
    if (model.endIds.has(best)) break;
    written.push(best);
  }
  const stream = new TextStream(model.tokenizer, sequences[0]!, []);
  for (const id of written) stream.push(id);
  stream.end();
  return stream.text;
}

const SHARES = [
  [0.2, 0.5, 0.3],
  [0.6, 0.1, 0.3],
  [0.4, 0.3, 0.3],
];

describe('generateFromEnsemble', () => {
  it('writes something else where the weights follow what was written', async () => {
    const texts = async (weights: EnsembleWeights) =>
      await Promise.all(SHARES.map((shares) => byLikelihoods(shares, weights)));
    expect(await texts('fixed')).not.toEqual(await texts('posterior'));
  });

  it.each<EnsembleWeights>(['fixed', 'posterior'])(
    'takes the likeliest token of the mixture, with weights that are %s',
    async (weights) => {
      for (const shares of SHARES) {
        const ensemble = { sequences, logWeights: shares.map(Math.log) };
        const options = { tokens: TOKENS, weights, ...compute };
        expect(await generateFromEnsemble(model, ensemble, options)).toBe(
          await byLikelihoods(shares, weights),
        );
      }
    },
  );

  it('samples by a seed, and refuses what has no meaning', async () => {
    const ensemble = { sequences, logWeights: [0.2, 0.5, 0.3].map(Math.log) };
    const write = (seed: number, more: object = {}) =>
      generateFromEnsemble(model, ensemble, { tokens: 12, temperature: 3, seed, ...more, ...compute });
    expect(await write(1)).toBe(await write(1));
    expect(new Set(await Promise.all([1, 2, 3].map((seed) => write(seed)))).size).toBeGreaterThan(1);
    // A share of nearly nothing leaves the likeliest token.
    const greedy = await generateFromEnsemble(model, ensemble, { tokens: 12, ...compute });
    expect(await write(1, { topP: 1e-6 })).toBe(greedy);
    await expect(write(1, { temperature: 0, topP: 0.5 })).rejects.toThrow(/topP is about sampling/);
    await expect(write(1, { packWeights: true })).rejects.toThrow(/packWeights is for decoders/);
  });
});
