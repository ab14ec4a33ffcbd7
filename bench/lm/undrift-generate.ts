/**
 * Runs Undrift's side of the suite `generate` of `bench/lm.ts`, in a separate process:
 *
 *     undrift-generate.ts FOLDER PROMPT_TOKENS NEW_TOKENS THREADS REPEATS
 */
import { generateText } from '../../src/models/language/generate.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { report } from '../fresh-process.ts';
import { windowIds } from './cases.ts';

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, ...numbers] = process.argv.slice(2);
const [promptTokens, tokens, threads, repeats] = numbers.map(Number) as [number, number, number, number];
const { decoder, tokenizer, weights } = await LanguageModel.load(folder!);
// Without end tokens, so that every side makes all tokens.
const model = new LanguageModel(decoder, tokenizer, weights, { endIds: [] });
const prompt = windowIds(0, promptTokens, decoder.vocabSize);
const timesMs: number[] = [];
let sample: readonly number[] = [];
for (let i = -1; i < repeats; i++) {
  const startMs = performance.now();
  const { ids } = await generateText(model, prompt, { tokens, threads });
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
