/**
 * Child process of `bench/encode.ts` that embeds texts when it is told to:
 *
 *     measure-encode.ts MODEL TEXTS DTYPE THREADS
 *
 * TEXTS is a JSON file with a list of texts. The process says `{ ready }` when the model is loaded and warm. At each message it embeds all
 * texts and answers with the time and its largest resident memory so far.
 */
import { readFileSync } from 'node:fs';
import { loadRetriever } from '../src/models/folder/model-folder.ts';
import type { EncodeDtype } from '../src/models/retriever/encode-dtype.ts';

/** Answer of the process to a message. */
export interface EncodeAnswer {
  readonly ms: number;
  readonly peakResidentBytes: number;
}

const WARMUP_TEXTS = 64;

const [model, file, dtype, threads] = process.argv.slice(2) as [string, string, EncodeDtype, string];
const texts = JSON.parse(readFileSync(file, 'utf8')) as string[];
const retriever = await loadRetriever(model, { encodeDtype: dtype });
const encode = (some: readonly string[]) => retriever.encode('document', some, { threads: Number(threads) });
await encode(texts.slice(0, WARMUP_TEXTS));
process.on('message', async () => {
  const startMs = performance.now();
  await encode(texts);
  const answer: EncodeAnswer = {
    ms: performance.now() - startMs,
    peakResidentBytes: process.resourceUsage().maxRSS * 1024,
  };
  process.send!(answer);
});
process.send!({ ready: true });
