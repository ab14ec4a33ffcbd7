/**
 * Encodes with transformers.js, using the pipeline that its users call, on the same ONNX file:
 *
 *     transformers-js-encode.ts FOLDER THREADS REPEATS
 *
 * The pipeline pads the texts of a call to the longest one and does not sort. It is therefore given 32 texts
 * of similar length at a time.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { env, pipeline } from '@huggingface/transformers';
import { report } from '../fresh-process.ts';

const BATCH = 32;
/** Number of texts whose embeddings are reported for comparison. */
const SAMPLE_TEXTS = 200;

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, threads, repeats] = process.argv.slice(2);
const texts: string[] = JSON.parse(readFileSync(join(folder!, 'texts.json'), 'utf8'));
env.allowRemoteModels = false;
env.localModelPath = folder!;
const extract = await pipeline('feature-extraction', 'model', {
  dtype: 'fp32',
  session_options: { intraOpNumThreads: Number(threads) },
});

const order = texts.map((_, i) => i).sort((a, b) => texts[b]!.length - texts[a]!.length);
const vectors: Float32Array[] = [];
async function encode(rows: readonly number[]): Promise<void> {
  for (let start = 0; start < rows.length; start += BATCH) {
    const some = rows.slice(start, start + BATCH);
    const { data, dims } = await extract(
      some.map((row) => texts[row]!),
      { pooling: 'mean', normalize: true },
    );
    const D = dims[1]!;
    for (const [i, row] of some.entries()) vectors[row] = (data as Float32Array).slice(i * D, (i + 1) * D);
  }
}

await encode(order.slice(0, BATCH));
const timesMs: number[] = [];
for (let i = 0; i < Number(repeats); i++) {
  const startMs = performance.now();
  await encode(order);
  timesMs.push(performance.now() - startMs);
}
report({
  timesMs,
  peakResidentBytes: process.resourceUsage().maxRSS * 1024,
  startResidentBytes,
  version: `transformers.js ${env.version}`,
  sample: vectors.slice(0, SAMPLE_TEXTS).flatMap((vector) => [...vector]),
});
