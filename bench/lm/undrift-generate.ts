/**
 * Runs Undrift's side of the suite `generate` of `bench/lm.ts`, in a separate process:
 *
 *     undrift-generate.ts FOLDER PROMPT_TOKENS NEW_TOKENS THREADS REPEATS [--packed]
 *
 * With `--packed` the weights are packed first, which is not part of the times. transformers.js packs them while it loads.
 */
import { generateByPasses, generateText } from '../../src/models/language/generate.ts';
import type { Generation } from '../../src/models/language/generation-rows.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { PackedPasses } from '../../src/models/language/packed-passes.ts';
import { report } from '../fresh-process.ts';
import { windowIds } from './cases.ts';

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, ...numbers] = process.argv.slice(2);
const [promptTokens, tokens, threads, repeats] = numbers.map(Number) as [number, number, number, number];
const { decoder, tokenizer, weights } = await LanguageModel.load(folder!);
// Without end tokens, so that every side makes all tokens.
const model = new LanguageModel(decoder, tokenizer, weights, { endIds: [] });
const prompt = windowIds(0, promptTokens, decoder.vocabSize);
const packed = process.argv.includes('--packed') ? await PackedPasses.create(model, { threads }) : undefined;

/** Runs a generation to its end. */
async function wholeOf(pieces: AsyncGenerator<string, Generation, void>): Promise<Generation> {
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return value;
  }
}

const timesMs: number[] = [];
let sample: readonly number[] = [];
for (let i = -1; i < repeats; i++) {
  const startMs = performance.now();
  const { ids } = packed
    ? await wholeOf(generateByPasses(model, prompt, { tokens, threads }, () => packed))
    : await generateText(model, prompt, { tokens, threads });
  if (i >= 0) timesMs.push(performance.now() - startMs);
  sample = ids;
}
report({
  timesMs,
  peakResidentBytes: process.resourceUsage().maxRSS * 1024,
  startResidentBytes,
  sample,
  version: `Undrift, Node ${process.version}`,
});
