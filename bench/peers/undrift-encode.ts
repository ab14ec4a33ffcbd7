/**
 * Encodes with Undrift, in a separate process:
 *
 *     undrift-encode.ts FOLDER THREADS REPEATS
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadRetriever } from '../../src/models/folder/model-folder.ts';
import { report } from '../fresh-process.ts';

const WARMUP_TEXTS = 32;
/** Number of texts whose embeddings are reported for comparison. */
const SAMPLE_TEXTS = 200;

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, threads, repeats] = process.argv.slice(2);
const texts: string[] = JSON.parse(readFileSync(join(folder!, 'texts.json'), 'utf8'));
const retriever = await loadRetriever(join(folder!, 'model'));
const encode = (some: string[]) => retriever.encode('document', some, { threads: Number(threads) });
await encode(texts.slice(0, WARMUP_TEXTS));
const timesMs: number[] = [];
let vectors = new Float32Array(0);
for (let i = 0; i < Number(repeats); i++) {
  const startMs = performance.now();
  vectors = (await encode(texts)) as Float32Array<ArrayBuffer>;
  timesMs.push(performance.now() - startMs);
}
report({
  timesMs,
  peakResidentBytes: process.resourceUsage().maxRSS * 1024,
  startResidentBytes,
  version: `Undrift, Node ${process.version}`,
  sample: [...vectors.subarray(0, SAMPLE_TEXTS * retriever.dimension)],
});
