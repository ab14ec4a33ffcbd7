/**
 * Generates with transformers.js from an exported folder, greedily:
 *
 *     transformers-js-generate.ts FOLDER PROMPT_TOKENS NEW_TOKENS THREADS REPEATS
 */
import { resolve } from 'node:path';
import { AutoModelForCausalLM, env, Tensor } from '@huggingface/transformers';
import { report } from '../fresh-process.ts';
import { windowIds } from '../lm/cases.ts';

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, ...numbers] = process.argv.slice(2);
const [promptTokens, tokens, threads, repeats] = numbers.map(Number) as [number, number, number, number];
env.allowRemoteModels = false;
const model = await AutoModelForCausalLM.from_pretrained(resolve(folder!), {
  dtype: 'fp32',
  session_options: { intraOpNumThreads: threads },
});
const { vocab_size: V } = model.config as unknown as { vocab_size: number };
const prompt = BigInt64Array.from(windowIds(0, promptTokens, V), BigInt);
const timesMs: number[] = [];
let sample: number[] = [];
for (let i = -1; i < repeats; i++) {
  const startMs = performance.now();
  const written = (await model.generate({
    input_ids: new Tensor('int64', prompt, [1, promptTokens]),
    attention_mask: new Tensor('int64', new BigInt64Array(promptTokens).fill(1n), [1, promptTokens]),
    max_new_tokens: tokens,
    min_new_tokens: tokens,
    do_sample: false,
  } as never)) as Tensor;
  if (i >= 0) timesMs.push(performance.now() - startMs);
  sample = Array.from(written.data as BigInt64Array, Number).slice(promptTokens);
}
report({
  timesMs,
  peakResidentBytes: process.resourceUsage().maxRSS * 1024,
  startResidentBytes,
  sample,
  version: `transformers.js ${env.version}`,
});
