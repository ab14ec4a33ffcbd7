/**
 * Measures the cost of a step that trains a part of a model:
 *
 *     npm run bench:fine-tuning -- [--steps N] [--threads N] [--json]
 *
 * Runs the reference step of `bench:step` (6 layers, D 384, 16 queries and 16 documents of 64 tokens) with
 * all parameters, with LoRA adapters, and with frozen parts. Each case runs in a fresh process. Both
 * processor time and elapsed time are reported; on a shared machine only processor time is meaningful.
 */
import { parseArgs } from 'node:util';
import { Graph } from '../src/graph/graph.ts';
import { matmul, range } from '../src/graph/ops.ts';
import { softmaxCrossEntropy } from '../src/losses/softmax-cross-entropy.ts';
import { createRetriever } from '../src/models/retriever/create-retriever.ts';
import { Retriever } from '../src/models/retriever/retriever.ts';
import { TokenFeeds } from '../src/models/retriever/token-feeds.ts';
import { describeTuning, type TuningOptions, tuned } from '../src/models/retriever/tuning.ts';
import { adamw } from '../src/optim/adamw.ts';
import { defaultThreads } from '../src/runtime/devices.ts';
import { gradientsIn, outputGradients } from '../src/runtime/gradients.ts';
import { Learner } from '../src/runtime/learner.ts';
import { Program } from '../src/runtime/program.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { freshNode, report } from './fresh-process.ts';
import { median, table } from './statistics.ts';

const CASES: readonly (readonly [title: string, tuning: TuningOptions])[] = [
  ['full', {}],
  ['LoRA, rank 8, queries and values', { lora: 8 }],
  ['LoRA, rank 8, all linear layers', { lora: 8, loraTargets: ['all-linear'] }],
  ['embeddings and layers 0 to 2 frozen', { freeze: ['embeddings', 'layers:0-2'] }],
];

const [TEXTS, TOKENS, DISTINCT, WARMUP] = [16, 64, 1500, 2];
const UPDATE = { learningRate: 1e-4, weightDecay: 0.01, maxGradientNorm: 1 };

interface Result {
  readonly title: string;
  readonly trained: string;
  readonly medianMs: number;
  readonly processorMs: number;
  readonly peakResidentBytes: number;
}

/** Makes a model of the reference size. Its tokenizer is a placeholder. */
function referenceModel(): Retriever {
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary(['a text', 'a text'], { model: 'wordpiece', vocabSize: 40, minFrequency: 1 }),
  );
  const { config, weights } = createRetriever({
    kind: 'transformer',
    tokenizer,
    hidden: 384,
    layers: 6,
    heads: 12,
    vocabSize: 30_522,
    maxQueryTokens: TOKENS,
    maxDocTokens: TOKENS,
  });
  return new Retriever(config, tokenizer, { weights });
}

async function measure(number: number, steps: number, threads: number): Promise<Result> {
  const [title, tuning] = CASES[number]!;
  const retriever = tuned(referenceModel(), tuning);
  const graph = new Graph('fine-tuning');
  const p = retriever.declare(graph);
  const { query, document } = retriever.embedSides(p, { query: 'query', document: 'document' });
  const scores = matmul(query!, document!, { transB: true, alpha: 20 });
  const loss = softmaxCrossEntropy(scores, range(graph, 'query'));
  graph.output('loss', loss);
  outputGradients(loss, {}, p.targets);
  const program = await Program.compile(graph, { threads });
  const learner = await Learner.create(retriever.specs, retriever.weights, adamw(), { threads });
  const feeder = new TokenFeeds(retriever.encoder.vocabSize);

  let drawn = 0;
  const batch = () => ({
    ids: Int32Array.from({ length: TEXTS * TOKENS }, () => ((drawn++ * 7919) % DISTINCT) * 20),
    mask: new Float32Array(TEXTS * TOKENS).fill(1),
    batch: TEXTS,
    tokens: TOKENS,
  });
  const timesMs: number[] = [];
  const processorMs: number[] = [];
  for (let i = -WARMUP; i < steps; i++) {
    const [startMs, before] = [performance.now(), process.cpuUsage()];
    const feeds = feeder.feeds({ query: batch(), document: batch() });
    const results = await program.run({ ...retriever.weights, ...feeds }, { into: learner.gradientBuffers });
    await learner.apply(gradientsIn(results, feeds), UPDATE);
    if (i < 0) continue;
    const { user, system } = process.cpuUsage(before);
    timesMs.push(performance.now() - startMs);
    processorMs.push((user + system) / 1000);
  }
  return {
    title,
    trained: describeTuning(retriever) ?? 'trains all parameters',
    medianMs: median(timesMs),
    processorMs: median(processorMs),
    peakResidentBytes: process.resourceUsage().maxRSS * 1024,
  };
}

const { values: options } = parseArgs({
  options: {
    case: { type: 'string' },
    steps: { type: 'string', default: '20' },
    threads: { type: 'string', default: String(defaultThreads()) },
    json: { type: 'boolean', default: false },
  },
});
const [steps, threads] = [Number(options.steps), Number(options.threads)];

if (options.case !== undefined) report(await measure(Number(options.case), steps, threads));
else {
  const results: Result[] = [];
  for (const number of CASES.keys()) {
    const args = ['--case', String(number), '--steps', String(steps), '--threads', String(threads)];
    results.push(await freshNode<Result>(new URL(import.meta.url), args));
  }
  const rows = results.map((r) => [
    r.title,
    `${r.processorMs.toFixed(0)} ms`,
    `${r.medianMs.toFixed(0)} ms`,
    `${(r.peakResidentBytes / 1e6).toFixed(0)} MB`,
    r.trained,
  ]);
  console.log(
    options.json
      ? JSON.stringify({ steps, threads, results }, null, 2)
      : table([['trained', 'processor time', 'clock', 'peak resident memory', ''], ...rows]),
  );
}
