/*
 * Trains a language model of two layers on token windows as the subject of a run, without any part of a
 * retriever. Also a program, so that a test can kill and resume it:
 *
 *     node --import tsx test/language-subject.ts FOLDER [--resume]
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Graph } from '../src/graph/graph.ts';
import { writeSafetensors } from '../src/io/safetensors.ts';
import { LanguageModel } from '../src/models/language/language-model.ts';
import { initialValue } from '../src/nn/parameters.ts';
import { defineObjective } from '../src/objective/objective.ts';
import { gradientsIn, outputGradients } from '../src/runtime/gradients.ts';
import { hostTensor, scalarValue } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import type { TrainCallbacks } from '../src/train/callbacks.ts';
import type { BatchSource } from '../src/train/loop.ts';
import { type RunResult, runTraining } from '../src/train/run.ts';
import type { RunOptions, Subject } from '../src/train/subject.ts';
import { permutation, rngKey } from '../src/util/rng.ts';

const FIXTURE = fileURLToPath(new URL('../src/models/language/fixtures/causal/gpt2', import.meta.url));
const WINDOW = 16;
const WINDOWS = 60;
const DEV_WINDOWS = 10;
const BATCH = 4;
const SEED = 3;
const compute = { threads: 1 };

/** Token ids, i64[B, T]. */
type Windows = BigInt64Array<ArrayBuffer>;

/** Makes text with a rule: each letter is followed by one of two letters. */
function windows(): Windows[] {
  return Array.from({ length: WINDOWS }, (_, i) => {
    const ids = new BigInt64Array(WINDOW);
    const turns = permutation(rngKey(SEED, i, 'turns'), 64);
    let letter = i % 26;
    for (let t = 0; t < WINDOW; t++) {
      ids[t] = BigInt(2 + letter);
      letter = (letter * 3 + 1 + (turns[t]! % 2)) % 26;
    }
    return ids;
  });
}

/** Makes batches. Every epoch visits each window once, in a different order. */
function batchesOf(train: readonly Windows[]): BatchSource<Windows> {
  const perEpoch = Math.floor(train.length / BATCH);
  return {
    perEpoch,
    batch(number) {
      const order = permutation(rngKey(SEED, Math.floor(number / perEpoch), 'windows'), train.length);
      const picked = order.subarray((number % perEpoch) * BATCH, ((number % perEpoch) + 1) * BATCH);
      return joined(Array.from(picked, (row) => train[row]!));
    },
  };
}

const joined = (rows: readonly Windows[]): Windows => {
  const ids = new BigInt64Array(rows.length * WINDOW);
  for (const [i, row] of rows.entries()) ids.set(row, i * WINDOW);
  return ids;
};

const feeds = (ids: Windows) => {
  const dims = [ids.length / WINDOW, WINDOW];
  return {
    ids: hostTensor('i64', dims, ids),
    mask: hostTensor('f32', dims, new Float32Array(ids.length).fill(1)),
  };
};

/** Compiles the next-token loss and, with `gradients`, the gradients for the learner. */
async function lossProgram(model: LanguageModel, { gradients }: { gradients: boolean }): Promise<Program> {
  const graph = new Graph(gradients ? 'train' : 'evaluate');
  const { get, targets } = model.declare(graph);
  const ids = graph.input('ids', 'i64', ['texts', 'tokens']);
  const mask = graph.input('mask', 'f32', ['texts', 'tokens']);
  const loss = model.decoder.nextTokenLoss(get, { ids, mask });
  graph.output('loss', loss);
  if (gradients) outputGradients(loss, {}, targets);
  return await Program.compile(graph, compute);
}

async function languageSubject(model: LanguageModel, folder: string): Promise<Subject<Windows>> {
  const all = windows();
  const dev = joined(all.slice(0, DEV_WINDOWS));
  const evaluation = await lossProgram(model, { gradients: false });
  const { weights } = model;
  const { specs } = model.decoder;
  return {
    specs,
    weights,
    batches: batchesOf(all.slice(DEV_WINDOWS)),
    work: { unit: 'tokens', of: ({ spent }) => spent.tokens ?? 0 },
    async start({ gradientBuffers, ledger }) {
      const program = await lossProgram(model, { gradients: true });
      return defineObjective({
        async step(ids) {
          ledger.tokens('training', ids.length);
          const outputs = await program.run({ ...weights, ...feeds(ids) }, { into: gradientBuffers });
          const loss = scalarValue(outputs.loss);
          const gradients = gradientsIn(outputs, {});
          return { gradients, trainingLoss: loss, interpretableLoss: loss, metrics: {} };
        },
        dispose: () => program.dispose(),
      });
    },
    evaluation: {
      metric: 'perplexity',
      lowerIsBetter: true,
      async measure() {
        const { loss } = await evaluation.run({ ...weights, ...feeds(dev) });
        return { perplexity: Math.exp(scalarValue(loss)) };
      },
    },
    nothingToDiagnose: 'a language model keeps no embeddings',
    dispose: () => evaluation.dispose(),
    async keep(metrics, { step }) {
      await writeSafetensors(join(folder, 'model.safetensors'), weights, {
        step: String(step),
        perplexity: String(metrics.perplexity),
      });
    },
  };
}

/** Trains the language model in a folder, from initial weights that depend on the seed. */
export async function trainLanguageModel(
  folder: string,
  { resume = false, ...changed }: Partial<RunOptions> = {},
  callbacks: TrainCallbacks = {},
): Promise<RunResult> {
  const given = await LanguageModel.load(FIXTURE);
  const fresh = given.decoder.specs.map((spec) => {
    return [spec.name, hostTensor('f32', spec.shape as number[], initialValue(spec, SEED))] as const;
  });
  const model = new LanguageModel(given.decoder, given.tokenizer, Object.fromEntries(fresh));
  return await runTraining(
    await languageSubject(model, folder),
    {
      folder,
      resume,
      compute,
      resumeCommand: `node test/language-subject.ts ${folder} --resume`,
      totalSteps: 60,
      accumulate: 2,
      lr: 0.02,
      schedule: 'cosine',
      evalEvery: 15,
      saveEvery: 5,
      ...changed,
    },
    callbacks,
  );
}

const [, script, folder, flag] = process.argv;
if (script === fileURLToPath(import.meta.url))
  await trainLanguageModel(folder!, { resume: flag === '--resume' });
