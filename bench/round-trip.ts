/**
 * Checks the way of a model from Python and back:
 *
 *     npm run bench:round-trip -- [--steps N] [--json]
 *
 * 1. transformers makes a tiny BERT, and Undrift loads the folder. Both embed the same texts.
 * 2. Undrift and sentence-transformers train it on the same batches. Their losses are compared step by step.
 * 3. sentence-transformers loads the model saved by Undrift. Both embed the same texts.
 *
 * Exits with code 1 if embeddings differ by more than 1e-5, or losses by more than a thousandth.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freshNode, freshProcess } from './fresh-process.ts';
import { peersPython } from './peers/python.ts';
import { TRAINING, writeBatches, writeTexts } from './peers/workload.ts';
import { largest } from './statistics.ts';

const MOST = { embeddings: 1e-5, losses: 1e-3 };
const TEXTS = 200;

const { values: options } = parseArgs({
  options: { steps: { type: 'string', default: '50' }, json: { type: 'boolean', default: false } },
});
const folder = fileURLToPath(new URL('results/tmp/round-trip', import.meta.url));
const python = peersPython();
const inPython = <T>(file: string, ...args: string[]) =>
  freshProcess<T>(python, [fileURLToPath(new URL(`peers/${file}`, import.meta.url)), folder, ...args]);
const inNode = <T>(file: string, ...args: string[]) =>
  freshNode<T>(new URL(`peers/${file}`, import.meta.url), [folder, ...args]);

await writeTexts(folder, TEXTS);
await inPython('tiny_bert.py');
const loaded = await embeddingDifference();
await writeBatches(folder, Number(options.steps));
const ours = await inNode<{ losses: number[] }>('undrift-train.ts', '2', options.steps);
const theirs = await inPython<{ losses: number[] }>('train.py', '2', JSON.stringify(TRAINING));
const losses = largest(ours.losses.map((loss, i) => Math.abs(loss / theirs.losses[i]! - 1)));
renameSync(join(folder, 'model'), join(folder, 'first-model'));
renameSync(join(folder, 'run', 'model'), join(folder, 'model'));
const saved = await embeddingDifference();

const result = {
  texts: TEXTS,
  steps: ours.losses.length,
  embeddingsOfTransformersFolder: loaded,
  losses,
  firstLoss: ours.losses[0]!,
  lastLoss: ours.losses.at(-1)!,
  embeddingsOfUndriftFolder: saved,
};
if (options.json) console.log(JSON.stringify(result));
else {
  const { firstLoss, lastLoss, steps } = result;
  console.log(
    `folder of transformers: embeddings of ${TEXTS} texts differ by at most ${loaded.toExponential(1)}`,
  );
  console.log(
    `${steps} steps, loss ${firstLoss.toFixed(4)} to ${lastLoss.toFixed(4)}: losses differ by at most ${losses.toExponential(1)} of themselves`,
  );
  console.log(`folder of Undrift: embeddings of ${TEXTS} texts differ by at most ${saved.toExponential(1)}`);
}
if (Math.max(loaded, saved) > MOST.embeddings || losses > MOST.losses) process.exitCode = 1;

/**
 * Computes the largest difference of an element between the embeddings of Undrift and of
 * sentence-transformers, in rows of unit length. A folder of transformers does not say whether vectors are
 * normalised; Undrift assumes that they are.
 */
async function embeddingDifference(): Promise<number> {
  const [a, b] = [
    await inNode<{ sample: number[] }>('undrift-encode.ts', '2', '1'),
    await inPython<{ sample: number[] }>('encode.py', '2', '1'),
  ];
  if (a.sample.length !== b.sample.length) throw new Error('the two sides embed in different dimensions');
  const [x, y] = [unitRows(a.sample), unitRows(b.sample)];
  return largest(x.map((value, i) => Math.abs(value - y[i]!)));
}

function unitRows(values: readonly number[]): number[] {
  const D = values.length / TEXTS;
  const norms = Array.from({ length: TEXTS }, (_, row) =>
    Math.hypot(...values.slice(row * D, (row + 1) * D)),
  );
  return values.map((value, i) => value / norms[Math.floor(i / D)]!);
}
