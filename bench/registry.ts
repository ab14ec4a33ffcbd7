/** What a user gives to `bench:all` for the benchmarks that need it. */
export interface Given {
  /** Folder of a causal language model, such as SmolLM2-135M. */
  readonly model?: string | undefined;
  /** Folder of a retriever, such as all-MiniLM-L6-v2. */
  readonly retriever?: string | undefined;
  /** Folders of data sets with test queries, with commas between them. */
  readonly sets?: string | undefined;
}

/** Benchmark whose result is a part of docs/performance.md. */
export interface Benchmark {
  /** Script beside this file, without its ending. `npm run bench:<script>` runs it alone. */
  readonly script: string;
  /** Name of the result file in bench/results/, without its ending. */
  readonly result: string;
  /** Blocks of docs/performance.md that are made from the result file. */
  readonly blocks: readonly string[];
  /** What is measured, in a few words. */
  readonly title: string;
  /** Duration on two idle cores, in minutes. */
  readonly minutes: number;
  /** Arguments of the script. */
  readonly args?: readonly string[];
  /** Arguments in place of `args` that measure something tiny, to see that everything works; undefined where nothing tiny can be measured. */
  readonly small?: readonly string[];
  /** Models and data that it needs; it is left out without them. */
  readonly needs?: readonly (keyof Given)[];
  /** Python packages of the sides that are in Python, which are left out without them. */
  readonly python?: readonly string[];
}

/** Benchmarks of `bench:all` by name, in the order in which they run. */
export const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  step: {
    script: 'step',
    result: 'step',
    blocks: ['step'],
    title: 'training steps beside the rate of matrix products',
    minutes: 4,
    small: ['--case', 'static', '--steps', '5'],
  },
  'peers-step': {
    script: 'peers',
    result: 'peers-step',
    blocks: ['peers-step'],
    title: 'training steps on texts of one length beside PyTorch',
    minutes: 25,
    args: ['--suite', 'step'],
    small: ['--suite', 'step', '--case', 't64', '--rounds', '1'],
    python: ['torch'],
  },
  'peers-encode': {
    script: 'peers',
    result: 'peers-encode',
    blocks: ['peers-encode'],
    title: 'encoding beside sentence-transformers and transformers.js',
    minutes: 10,
    args: ['--suite', 'encode'],
    small: ['--suite', 'encode', '--case', 'minilm', '--rounds', '1'],
    python: ['torch', 'sentence_transformers'],
  },
  'peers-train': {
    script: 'peers',
    result: 'peers-train',
    blocks: ['peers-train'],
    title: 'fine-tuning beside sentence-transformers',
    minutes: 30,
    args: ['--suite', 'train'],
    small: ['--suite', 'train', '--case', 'minilm', '--rounds', '1'],
    python: ['torch', 'sentence_transformers', 'datasets', 'accelerate'],
  },
  encode: {
    script: 'encode',
    result: 'encode',
    blocks: ['encode-speed', 'encode-padding'],
    title: 'encoding in f32 and int8, in one process and in several; padding',
    minutes: 2,
    small: [],
    needs: ['retriever'],
  },
  'encode-quality': {
    script: 'encode-quality',
    result: 'encode-quality',
    blocks: ['encode-quality'],
    title: 'quality of encoding in int8',
    minutes: 10,
    needs: ['retriever', 'sets'],
  },
  cache: {
    script: 'cache',
    result: 'cache',
    blocks: ['cache-scoring', 'cache-step', 'cache-memory'],
    title: 'sampling from a cache, steps with one, memory',
    minutes: 15,
    args: ['--case', 'scoring,step,memory'],
    small: [
      '--case',
      'scoring,step',
      '--rows',
      '4096',
      '--step-rows',
      '4096',
      '--encoder',
      'static',
      '--rounds',
      '2',
    ],
  },
  'cache-search': {
    script: 'cache',
    result: 'cache-search',
    blocks: ['cache-search'],
    title: 'draws by an index',
    minutes: 2,
    args: ['--case', 'search'],
    small: ['--case', 'search', '--search-rows', '4096', '--rounds', '2'],
  },
  'cache-rows': {
    script: 'cache',
    result: 'cache-rows',
    blocks: ['cache-rows'],
    title: 'rows of a table, inserted and refreshed',
    minutes: 1,
    args: ['--case', 'rows'],
    small: ['--case', 'rows', '--rows', '4096'],
  },
  refresh: {
    script: 'refresh',
    result: 'refresh',
    blocks: ['refresh'],
    title: 'a refresh beside training',
    minutes: 4,
    small: ['--case', 'static', '--rounds', '1'],
  },
  corrector: {
    script: 'corrector',
    result: 'corrector',
    blocks: ['corrector'],
    title: 'correctors',
    minutes: 6,
    args: ['--case', 'rows,learn'],
    small: [
      '--case',
      'rows,learn',
      '--kind',
      'ridge',
      '--dimension',
      '64',
      '--rows',
      '4096',
      '--rounds',
      '2',
    ],
  },
  'corrector-search': {
    script: 'corrector',
    result: 'corrector-search',
    blocks: ['corrector-step', 'corrector-draws'],
    title: 'rows corrected as an index draws them',
    minutes: 5,
    args: ['--case', 'step,draws'],
    small: ['--case', 'step', '--encoder', 'static', '--step-rows', '4096', '--rounds', '1'],
  },
  serve: {
    script: 'serve',
    result: 'serve',
    blocks: ['serve-search', 'serve-load', 'serve-rows'],
    title: 'a store and its server',
    minutes: 10,
    small: ['--passages', '500', '--connections', '1', '--seconds', '1'],
  },
  cluster: {
    script: 'cluster',
    result: 'cluster',
    blocks: ['cluster'],
    title: 'workers of a cluster beside a lone encoder',
    minutes: 15,
    small: ['--rows', '2000', '--workers', '1', '--rounds', '1'],
  },
  lm: {
    script: 'lm',
    result: 'lm',
    blocks: ['lm-score', 'lm-train', 'lm-generate', 'lm-knn'],
    title: 'language models beside transformers and transformers.js',
    minutes: 40,
    small: ['--small', '--rounds', '1'],
    needs: ['model'],
    python: ['torch', 'transformers'],
  },
  joint: {
    script: 'joint',
    result: 'joint',
    blocks: ['joint-parts', 'joint-fusion'],
    title: 'retriever and reader together, beside PyTorch',
    minutes: 60,
    small: ['--small', '--rounds', '1'],
    needs: ['model', 'retriever'],
    python: ['torch', 'transformers'],
  },
};

/**
 * Chooses benchmarks by their names, or by the beginnings of several names before a hyphen: `cache` is `cache`, `cache-search` and
 * `cache-rows`.
 *
 * @param only  names with commas between them; default all
 * @returns  names in the order of the registry, or the first name that is unknown
 */
export function chosenBenchmarks(
  only: string | undefined,
  all: Readonly<Record<string, Benchmark>> = BENCHMARKS,
): { readonly names: readonly string[] } | { readonly unknown: string } {
  const known = Object.keys(all);
  if (only === undefined) return { names: known };
  const asked = only.split(',').map((name) => name.trim());
  const fits = (name: string, wanted: string) => name === wanted || name.startsWith(`${wanted}-`);
  const unknown = asked.find((wanted) => !known.some((name) => fits(name, wanted)));
  if (unknown !== undefined) return { unknown };
  return { names: known.filter((name) => asked.some((wanted) => fits(name, wanted))) };
}
