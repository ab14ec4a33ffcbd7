/**
 * Compares Undrift with other libraries:
 *
 *     npm run bench:peers -- [--suite step,encode,train] [--case …] [--side …] [--rounds N] [--steps N] [--threads N] [--without-python] [--json] [--out FILE]
 *
 * | suite  | cases        | measured                                      | compared with                                 |
 * |--------|--------------|-----------------------------------------------|-----------------------------------------------|
 * | step   | t64, t128, t256, t256-checkpointed | the reference training step, synthetic tokens | PyTorch eager, with and without fused AdamW |
 * | encode | minilm, base | texts of real lengths to embeddings           | sentence-transformers; transformers.js        |
 * | train  | minilm, base | fine-tuning on the same batches of real text  | sentence-transformers' trainer, both AdamWs   |
 *
 * `--side` takes the names of some sides besides ours. Every round runs each side in a fresh process with the same number of threads. The order rotates from round to
 * round, so that a change in the speed of the machine favours no side. Embeddings and losses are compared too.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { compareSides, formatted, type Measurement, type SideSummary } from './comparison.ts';
import { freshNode, freshProcess } from './fresh-process.ts';
import { PEER_OPTIONS, peersPython } from './peers/python.ts';
import { ENCODERS, type EncoderName, TRAINING, writeWorkload } from './peers/workload.ts';
import { RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { STEP_CASES } from './training-step.ts';

/** Result of one case of `bench:peers`. */
export interface PeersResult {
  readonly suite: string;
  readonly case: string;
  readonly title: string;
  readonly threads: number;
  readonly sides: readonly SideSummary[];
  /** Units a second by side, such as texts. */
  readonly rates?: Readonly<Record<string, number>> | undefined;
}

interface Suite {
  readonly cases: readonly string[];
  title(id: string): string;
  /** Writes the workload of the sides. */
  prepare?(id: string): Promise<void>;
  /** Sides of the comparison, each run in a separate process. Undrift is the first. */
  readonly sides: Readonly<Record<string, (id: string) => Promise<Measurement>>>;
  /** Sides in Python. */
  readonly python: Suite['sides'];
  /** Unit of the rate. `units` gives the number of units that one time covers. */
  readonly unit?: string;
  units?(id: string): number;
}

const { values: options } = parseArgs({
  options: {
    suite: { type: 'string', default: 'step,encode,train' },
    case: { type: 'string', default: '' },
    side: { type: 'string', default: '' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string' },
    threads: { type: 'string', default: String(defaultThreads()) },
    ...PEER_OPTIONS,
    ...RESULT_OPTIONS,
  },
});
const { threads } = options;

/** Number of timed steps by case, chosen by the duration of a step. */
const STEPS: Readonly<Record<string, number>> = {
  ...{ t64: 8, t128: 6, t256: 4, 't256-checkpointed': 4 },
  ...{ minilm: 10, base: 5 },
};
const ENCODE_REPEATS = '2';

const python = options['without-python'] ? '' : peersPython();
const peer = (file: string) => new URL(`peers/${file}`, import.meta.url);
const inPython = (file: string, args: readonly string[]) =>
  freshProcess<Measurement>(python, [fileURLToPath(peer(file)), ...args], {
    env: { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads, TOKENIZERS_PARALLELISM: 'true' },
  });
const inNode = (file: string, args: readonly string[]) => freshNode<Measurement>(peer(file), args);
const workload = (id: string) => fileURLToPath(new URL(`results/tmp/peers/${id}`, import.meta.url));
const stepCount = (id: string) => Number(options.steps ?? STEPS[id]!);
const steps = (id: string) => String(stepCount(id));
const encoders = {
  cases: Object.keys(ENCODERS),
  title: (id: string) => ENCODERS[id as EncoderName].title,
  // The first step of a trainer ends no interval, so one more is needed.
  prepare: (id: string) => writeWorkload(workload(id), id as EncoderName, stepCount(id) + 1),
};
const torchStep = (id: string, ...flags: string[]) =>
  inPython('step.py', [
    ...[id, threads, steps(id), ...flags],
    ...(id.endsWith('-checkpointed') ? ['--checkpoint'] : []),
  ]);
const trainer = (id: string, ...flags: string[]) =>
  inPython('train.py', [workload(id), threads, JSON.stringify(TRAINING), ...flags]);

const SUITES: Readonly<Record<string, Suite>> = {
  step: {
    cases: STEP_CASES.filter(({ encoder }) => encoder.model.model_type === 'bert').map(({ id }) => id),
    title: (id) => STEP_CASES.find((known) => known.id === id)!.title,
    sides: {
      undrift: (id) => inNode('undrift-step.ts', [id, threads, steps(id)]),
    },
    python: {
      'PyTorch eager': (id) => torchStep(id),
      'PyTorch eager, fused AdamW': (id) => torchStep(id, '--fused'),
    },
  },
  encode: {
    ...encoders,
    unit: 'texts/s',
    units: (id) => ENCODERS[id as EncoderName].texts,
    sides: {
      undrift: (id) => inNode('undrift-encode.ts', [workload(id), threads, ENCODE_REPEATS]),
      'transformers.js': (id) => inNode('transformers-js-encode.ts', [workload(id), threads, ENCODE_REPEATS]),
    },
    python: {
      'sentence-transformers': (id) => inPython('encode.py', [workload(id), threads, ENCODE_REPEATS]),
    },
  },
  train: {
    ...encoders,
    sides: {
      undrift: (id) => inNode('undrift-train.ts', [workload(id), threads, String(stepCount(id) + 1)]),
    },
    python: {
      'sentence-transformers': (id) => trainer(id),
      'sentence-transformers, fused AdamW': (id) => trainer(id, '--fused'),
    },
  },
};

const wantedSides = options.side === '' ? [] : options.side.split(',');
const knownSides = Object.values(SUITES).flatMap(({ sides, python: more }) =>
  Object.keys({ ...sides, ...more }),
);
const unknownSide = wantedSides.find((side) => !knownSides.includes(side));
if (unknownSide !== undefined)
  fail(`no such side: ${unknownSide}`, `use ${[...new Set(knownSides)].join(', ')}`);
const machine = startMachine(Number(threads));
const results: PeersResult[] = [];
for (const [name, suite, id] of chosenCases()) {
  await suite.prepare?.(id);
  const all = { ...suite.sides, ...(!options['without-python'] && suite.python) };
  const runs = Object.entries(all)
    .filter(([side], i) => i === 0 || wantedSides.length === 0 || wantedSides.includes(side))
    .map(([side, run]) => [side, () => run(id)] as const);
  const sides = await compareSides(Object.fromEntries(runs), Number(options.rounds));
  const rates = suite.units
    ? Object.fromEntries(sides.map((s) => [s.name, (1000 * suite.units!(id)) / s.medianMs]))
    : undefined;
  results.push({ suite: name, case: id, title: suite.title(id), threads: Number(threads), sides, rates });
  if (!options.json) {
    console.log(`${name}: ${suite.title(id)}, ${threads} threads\n${formatted(sides, suite.unit, rates)}\n`);
  }
}
writeResult({ ...machine(), results }, options);

function chosenCases(): [string, Suite, string][] {
  const cases = options.suite.split(',').flatMap((name): [string, Suite, string][] => {
    const suite = SUITES[name];
    if (!suite) fail(`no such suite: ${name}`, `use ${Object.keys(SUITES).join(', ')}`);
    return suite.cases.map((id) => [name, suite, id]);
  });
  if (options.case === '') return cases;
  const asked = options.case.split(',');
  const unknown = asked.find((id) => !cases.some(([, , known]) => known === id));
  if (unknown !== undefined) {
    fail(`no such case: ${unknown}`, `use ${[...new Set(cases.map(([, , id]) => id))].join(', ')}`);
  }
  return cases.filter(([, , id]) => asked.includes(id));
}

function fail(message: string, help: string): never {
  console.error(`bench:peers: ${message}\n  help: ${help}`);
  process.exit(2);
}
