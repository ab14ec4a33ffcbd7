/**
 * Runs Undrift's side of the suite `train` of `bench/lm.ts`, in a separate process:
 *
 *     undrift-train.ts FOLDER WINDOWS TOKENS THREADS STEPS LORA
 */
import { Graph } from '../../src/graph/graph.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { TunedLanguageModel } from '../../src/models/language/tuned-language-model.ts';
import { wholeTableFeeds } from '../../src/models/retriever/token-feeds.ts';
import { tokenInputs } from '../../src/models/retriever/token-inputs.ts';
import { adamw } from '../../src/optim/adamw.ts';
import { gradientsIn, outputGradients } from '../../src/runtime/gradients.ts';
import { scalarValue } from '../../src/runtime/host-tensor.ts';
import { Learner } from '../../src/runtime/learner.ts';
import { Program } from '../../src/runtime/program.ts';
import { report } from '../fresh-process.ts';
import { windowIds } from './cases.ts';

const WARMUP_STEPS = 2;
const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, ...numbers] = process.argv.slice(2);
const [windows, tokens, threads, steps, lora] = numbers.map(Number) as [
  number,
  number,
  number,
  number,
  number,
];
const model = await LanguageModel.load(folder!);
const targets = { lora, loraAlpha: 2 * lora, loraTargets: ['q_proj', 'v_proj'] };
const tuned = new TunedLanguageModel(model, lora > 0 ? targets : {});
const graph = new Graph('train');
const declared = tuned.declare(graph);
// One document in each window, so that the other side computes the same. Documents are told apart all the same, as in training.
const loss = model.decoder.nextTokenLoss(declared.get, tokenInputs(declared, 'windows', { documents: true }));
graph.output('loss', loss);
outputGradients(loss, {}, declared.targets);
const program = await Program.compile(graph, { threads });
const learner = await Learner.create(tuned.specs, tuned.weights, adamw(), { threads });
const timesMs: number[] = [];
const losses: number[] = [];
for (let step = 0; step < WARMUP_STEPS + steps; step++) {
  const startMs = performance.now();
  const size = windows * tokens;
  const [ids, mask, documents] = [new Int32Array(size), new Float32Array(size).fill(1), new Int32Array(size)];
  for (let i = 0; i < windows; i++) {
    ids.set(windowIds(step * windows + i, tokens, model.decoder.vocabSize), i * tokens);
  }
  const feeds = wholeTableFeeds({ windows: { ids, mask, documents, batch: windows, tokens } });
  const outputs = await program.run({ ...tuned.weights, ...feeds }, { into: learner.gradientBuffers });
  losses.push(scalarValue(outputs.loss));
  await learner.apply(gradientsIn(outputs, feeds), {
    learningRate: 1e-4,
    weightDecay: 0.01,
    maxGradientNorm: 1,
  });
  if (step >= WARMUP_STEPS) timesMs.push(performance.now() - startMs);
}
const peakResidentBytes = process.resourceUsage().maxRSS * 1024;
report({
  timesMs,
  peakResidentBytes,
  startResidentBytes,
  losses,
  version: `Undrift, Node ${process.version}`,
});
