/**
 * Runs Undrift's side of the suite `score` of `bench/lm.ts`, in a separate process:
 *
 *     undrift-score.ts FOLDER WINDOWS TOKENS THREADS REPEATS
 */
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { report } from '../fresh-process.ts';
import { windowIds } from './cases.ts';

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, ...numbers] = process.argv.slice(2);
const [windows, tokens, threads, repeats] = numbers.map(Number) as [number, number, number, number];
const model = await LanguageModel.load(folder!);
const { vocabSize } = model.decoder;
const sequences = Array.from({ length: windows }, (_, i) => ({ ids: windowIds(i, tokens, vocabSize) }));
const timesMs: number[] = [];
let sample: number[] = [];
for (let i = -1; i < repeats; i++) {
  const startMs = performance.now();
  const scores = await model.scoreTokens(sequences, { threads });
  if (i >= 0) timesMs.push(performance.now() - startMs);
  sample = [...scores[0]!.logProbabilities.subarray(0, 32)];
}
const peakResidentBytes = process.resourceUsage().maxRSS * 1024;
report({
  timesMs,
  peakResidentBytes,
  startResidentBytes,
  sample,
  version: `Undrift, Node ${process.version}`,
});
