/**
 * `npm run quickstart:lm`: a small language model, trained from nothing on the documentation of installed packages, predicts other
 * declarations with and without the tokens that it has read (kNN-LM).
 */
import { rmSync } from 'node:fs';
import {
  buildApiDocs,
  buildDatastore,
  evaluateText,
  generateText,
  InterruptedError,
  knnLmSystem,
  LanguageModel,
  loadData,
  plainSystem,
  TokenDatastore,
  trainLanguageModel,
  tuneKnnLmOn,
} from 'undrift';

const DATA = 'quickstart-data';
const RUN = 'runs/quickstart-lm';
const STORE = 'runs/quickstart-lm-datastore';

// One text for each documented declaration of TypeScript and Node: its description and the declaration.
await buildApiDocs({ out: DATA });
const data = await loadData(DATA);
const textsOf = (split: string) => {
  const { queryRows, positives } = data.examples(split);
  return Array.from(queryRows, (query, i) => {
    const description = data.queries.text(query).replace(/\s+/g, ' ').trim();
    return {
      id: data.queries.id(query),
      text: `/** ${description} */\n${data.corpus.text(positives.rows[positives.offsets[i]!]!)}`,
    };
  });
};
const [train, dev, test] = ['train', 'dev', 'test'].map(textsOf) as [Text[], Text[], Text[]];
type Text = ReturnType<typeof textsOf>[number];
console.log(
  `${train.length} declarations to train on, ${dev.length} to tune on, ${test.length} to test with\n`,
);

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());
const clear = process.stdout.isTTY ? '\r\x1b[K' : '';
const run = await trainLanguageModel(
  {
    ...{ data: { texts: train }, evalData: { texts: dev }, out: RUN, overwrite: true },
    ...{ hidden: 128, layers: 4, vocabSize: 4096, window: 128, batchSize: 32, epochs: 3, lr: 3e-3 },
    ...{ evalTokens: 8192, threads: 2 },
  },
  {
    signal: interrupt.signal,
    onStep: ({ step, totalSteps, trainingLoss }) => {
      if (clear)
        process.stdout.write(`${clear}step ${step} of ${totalSteps}: loss ${trainingLoss.toFixed(3)}`);
    },
    onEvaluation: ({ step, metrics }) =>
      console.log(`${clear}step ${step}: perplexity ${metrics.perplexity!.toFixed(1)} on dev`),
  },
).catch((error: Error) => {
  if (!(error instanceof InterruptedError)) throw error;
  console.error(`\n${error.message}`);
  process.exit(130);
});

const model = await LanguageModel.load(run.model);
const windows = { window: 128, stride: 128 };
rmSync(STORE, { recursive: true, force: true });
const { tokens } = await buildDatastore(model, train, STORE, windows);
console.log(`\ndatastore: the states of ${tokens} tokens, each with the token that follows`);
const memory = await TokenDatastore.open(STORE);
const { best } = await tuneKnnLmOn(model, memory, dev, {
  windows,
  cache: false,
  neighbours: 256,
  tokens: 4096,
});
console.log(`tuned on dev: λ ${best.lambda}, temperature ${best.temperature.toPrecision(3)}\n`);

for (const [name, system] of [
  ['language model', plainSystem(model)],
  ['with the datastore', knnLmSystem(model, memory, best)],
] as const) {
  const { perplexity, bitsPerByte } = await evaluateText(system, test, { ...windows, limitTokens: 8192 });
  console.log(
    `${name.padEnd(20)}perplexity ${perplexity.toFixed(2)}, bits per byte ${bitsPerByte.toFixed(3)} on test`,
  );
  await system.dispose();
}

const { text } = await generateText(model, '/** Returns a promise', { tokens: 60 });
console.log(`\nIt continues "/** Returns a promise":\n/** Returns a promise${text}`);
console.log(`\n${(performance.now() / 1000).toFixed(0)} seconds. Go on with the model in ${run.model}:`);
console.log(`  npx undrift lm generate --model ${RUN} "/** Reads a file"`);
