import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { readConfigFile } from '../../src/cli/options.ts';
import { TRAIN_OPTIONS } from '../../src/cli/train-options.ts';
import { readComparison } from '../../src/compare/read-comparison.ts';
import { combineRuns, readResults } from '../../src/compare/results.ts';
import { readRunResult } from '../../src/compare/run-result.ts';
import { formatResults } from '../../src/compare/write-report.ts';
import { loadCorrector, saveCorrector } from '../../src/correctors/corrector-folder.ts';
import { fitCorrector } from '../../src/correctors/fit-corrector.ts';
import { loadAnyData } from '../../src/data/any-data.ts';
import { loadCorpus } from '../../src/data/documents.ts';
import { loadData } from '../../src/data/load.ts';
import { readQrels } from '../../src/data/qrels.ts';
import { loadTexts } from '../../src/data/texts.ts';
import { unzip } from '../../src/data/unzip.ts';
import { readRunFile, writeRunFile } from '../../src/eval/run-file.ts';
import { EXCHANGE_FORMATS } from '../../src/exchange/exchange-row.ts';
import { exportVectors } from '../../src/exchange/export-vectors.ts';
import { readRows } from '../../src/exchange/read-rows.ts';
import { NPY_FILES } from '../../src/exchange/write-rows.ts';
import { readNpy, writeNpy } from '../../src/io/npy.ts';
import { readSafetensors } from '../../src/io/safetensors.ts';
import { loadRetriever, saveRetriever } from '../../src/models/folder/model-folder.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { decodeModel } from '../../src/onnx/decode.ts';
import { readManifest } from '../../src/retrieval/vector-manifest.ts';
import { openVectorWriter } from '../../src/retrieval/write-vectors.ts';
import { hostTensor } from '../../src/runtime/host-tensor.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { readCheckpoint, writeCheckpoint } from '../../src/train/checkpoint.ts';
import { readEventLog } from '../../src/train/event-log.ts';
import { readRunSettings } from '../../src/train/run-folder.ts';
import { resolveSettings } from '../../src/train/settings.ts';
import { sampleComparison } from '../fake-comparison.ts';
import { makeZip } from '../make-zip.ts';
import { smallRetriever, TEXTS } from '../small-models.ts';

/** Reader that is tried on damaged files. */
export interface Target {
  /** Name in reports. */
  readonly name: string;
  /** Folder with undamaged files. */
  readonly folder: string;
  /** Files that are damaged, one at a time. */
  readonly files: readonly string[];
  /** Share of the mutations. Default 4. */
  readonly weight?: number;
  /** Reads a copy of the folder; throws an `UndriftError` for what it refuses. */
  read(folder: string): Promise<unknown>;
}

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

/** Makes the undamaged files of all readers. */
export async function makeTargets(root: string): Promise<Target[]> {
  const targets: Target[] = [];
  const add = (
    name: string,
    files: Readonly<Record<string, string | Uint8Array>>,
    read: Target['read'],
    rest: Partial<Target> = {},
  ): string => {
    const folder = join(root, name.replaceAll(/\W+/g, '-'));
    mkdirSync(folder, { recursive: true });
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    targets.push({ name, folder, files: Object.keys(files), read, ...rest });
    return folder;
  };
  addData(add);
  await addModels(root, add);
  await addRuns(add);
  return targets;
}

type Add = (
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  read: Target['read'],
  rest?: Partial<Target>,
) => string;

/** Loads a data set, and everything that is loaded on demand. */
async function everything(path: string): Promise<void> {
  const data = await loadData(path, { skipBadRows: 1 });
  for (const split of data.splits) {
    data.qrels(split);
    data.examples(split);
  }
}

function addData(add: Add): void {
  const lines = (records: readonly unknown[]) => records.map((each) => `${JSON.stringify(each)}\n`).join('');
  const ids = Array.from({ length: 12 }, (_, i) => i);
  const corpus = lines(
    ids.map((i) => ({ _id: `d${i}`, title: i % 2 ? 'Türe' : '', text: `document ${i} 東京 "x"` })),
  );
  const queries = lines(ids.map((i) => ({ _id: `q${i}`, text: `query ${i}` })));
  const qrels = `query-id\tcorpus-id\tscore\n${ids.map((i) => `q${i}\td${i}\t${i % 3}\n`).join('')}`;
  const beir = {
    'corpus.jsonl': corpus,
    'queries.jsonl': queries,
    'qrels/train.tsv': qrels,
    'qrels/test.tsv': qrels,
  };
  const pairs = lines(
    ids.map((i) => ({
      query: `query ${i}`,
      positive: [`answer ${i}`],
      negatives: ['no', 'none'],
      scores: [1, 0.5, 0],
    })),
  );
  const scored = lines(ids.map((i) => ({ sentence1: `a ${i}`, sentence2: `b ${i}`, score: i / 12 })));
  const rows = ids.map((i) => `${i}\ttext ${i}\n`).join('');
  const trec = ids.map((i) => `q${i} 0 d${i} ${i % 3}\n`).join('');

  add('BEIR folder', beir, everything);
  const answers = lines(
    ids.map((i) => ({ _id: `q${i}`, answers: i % 2 ? [`word ${i}`] : { text: ['no'] } })),
  );
  add('BEIR folder with answers', { ...beir, 'answers.jsonl': answers }, (folder) =>
    loadData(folder, { skipBadRows: 1, answers: true }),
  );
  add('corpus', { 'corpus.jsonl': corpus }, (folder) => loadCorpus(join(folder, 'corpus.jsonl')));
  add('pairs', { 'train.jsonl': pairs, 'dev.jsonl': pairs }, everything);
  add('pairs in gzip', { 'pairs.jsonl.gz': gzipSync(pairs) }, (folder) =>
    everything(join(folder, 'pairs.jsonl.gz')),
  );
  add('scored pairs', { 'train.jsonl': scored }, (folder) => loadAnyData(folder));
  add(
    'MS MARCO',
    {
      'collection.tsv': rows,
      'queries.train.tsv': rows,
      'qrels.train.tsv': ids.map((i) => `${i}\t0\t${i}\t1\n`).join(''),
    },
    everything,
  );
  const table = (mark: string) =>
    `question${mark}answer\n${ids.map((i) => `"how, ${i}?"${mark}"so ""${i}"""\n`).join('')}`;
  add('CSV', { 'pairs.csv': table(',') }, (folder) => everything(join(folder, 'pairs.csv')));
  add('TSV', { 'pairs.tsv': table('\t') }, (folder) => everything(join(folder, 'pairs.tsv')));
  add('texts', { 'texts.txt': rows, 'more.txt.gz': gzipSync(rows) }, async (folder) => {
    await loadTexts(join(folder, 'texts.txt'));
    await loadTexts(join(folder, 'more.txt.gz'));
  });
  add(
    'qrels',
    {
      'beir.tsv': qrels,
      'trec.txt': trec,
      'records.jsonl': lines(ids.map((i) => ({ qid: i, pid: i, score: 1 }))),
    },
    async (folder) => {
      for (const name of ['beir.tsv', 'trec.txt', 'records.jsonl']) await readQrels(join(folder, name));
    },
  );
  const run = ids.map((i) => `q${i % 3} Q0 d${i} ${1 + i} ${12.5 - i} tag\n`).join('');
  add(
    'run files',
    { 'trec.run': run, 'msmarco.run': ids.map((i) => `${i % 3}\t${i}\t${1 + Math.floor(i / 3)}\n`).join('') },
    async (folder) => {
      await writeRunFile(join(folder, 'again.run'), await readRunFile(join(folder, 'trec.run')));
      await readRunFile(join(folder, 'msmarco.run'));
    },
  );
  for (const codec of ['none', 'snappy', 'gzip', 'zstd', 'brotli']) {
    const file = `pairs-${codec}.parquet`;
    const read = (folder: string) => everything(join(folder, file));
    add(`Parquet (${codec})`, { [file]: readFileSync(join(SRC, 'data/fixtures', file)) }, read, {
      weight: 2,
    });
  }
  add('BEIR archive', { 'beir.zip': makeZip(beir) }, async (folder) => {
    await unzip(join(folder, 'beir.zip'), join(folder, 'out'), (name) => name);
    await everything(join(folder, 'out'));
  });
}

async function addModels(root: string, add: Add): Promise<void> {
  const folderFiles = (folder: string): Record<string, Uint8Array> =>
    Object.fromEntries(
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !/golden|README/.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name))
        .map((path) => [path.slice(folder.length + 1), readFileSync(path)]),
    );
  const load = async (folder: string): Promise<void> => {
    const retriever = await loadRetriever(folder);
    retriever.tokenize('query', TEXTS.length, (row) => TEXTS[row]!);
    await retriever.dispose();
  };

  for (const kind of ['static', 'transformer'] as const) {
    const retriever = smallRetriever({ kind });
    const saved = join(root, `saved-${kind}`);
    await saveRetriever(saved, retriever, { onnx: false });
    add(`model (${kind})`, folderFiles(saved), load);
    await retriever.dispose();
  }
  for (const name of ['bert', 'mpnet', 'roberta', 'distilbert', 'xlm-roberta']) {
    const files = folderFiles(join(SRC, 'models/architectures/fixtures', name));
    add(`model (${name})`, files, load, { weight: 1 });
  }
  for (const name of ['gpt2', 'llama-untied']) {
    const files = folderFiles(join(SRC, 'models/language/fixtures/causal', name));
    add(`language model (${name})`, files, (folder) => LanguageModel.load(folder), { weight: 1 });
  }
  const families = JSON.parse(
    gunzipSync(readFileSync(join(SRC, 'text/fixtures/families.json.gz'))).toString(),
  ) as {
    tokenizers: Record<string, unknown>;
  };
  for (const [name, json] of Object.entries(families.tokenizers)) {
    const text = JSON.stringify(json);
    if (text.length > 40_000) continue;
    const read = async (folder: string): Promise<void> => {
      const tokenizer = Tokenizer.fromFile(join(folder, 'tokenizer.json'));
      for (const each of TEXTS) tokenizer.encode(each);
    };
    add(`tokenizer (${name})`, { 'tokenizer.json': text }, read, { weight: 1 });
  }
  const bytes = (name: string) => readFileSync(join(SRC, name));
  add(
    'safetensors',
    {
      'a.safetensors': bytes('io/fixtures/golden.safetensors'),
      'b.safetensors': bytes('io/fixtures/bf16.safetensors'),
    },
    async (folder) => {
      for (const name of ['a', 'b']) await readSafetensors(join(folder, `${name}.safetensors`));
    },
  );
  add(
    'ONNX',
    { 'raw.onnx': bytes('onnx/fixtures/raw.onnx'), 'typed.onnx': bytes('onnx/fixtures/typed.onnx') },
    async (folder) => {
      for (const name of ['raw.onnx', 'typed.onnx']) decodeModel(readFileSync(join(folder, name)), name);
    },
  );
}

async function addRuns(add: Add): Promise<void> {
  const empty = (
    name: string,
    files: readonly string[],
    read: Target['read'],
    rest?: Partial<Target>,
  ): string => {
    const folder = add(name, {}, read, { files, ...rest });
    return folder;
  };
  const vectors = empty('vectors and manifest', ['v.npy', 'v.npy.json'], async (folder) => {
    await readNpy(join(folder, 'v.npy'));
    await readManifest(join(folder, 'v.npy'));
  });
  const retriever = smallRetriever({ kind: 'static' });
  const writer = await openVectorWriter(join(vectors, 'v.npy'), { retriever });
  await writer.append(new Float32Array(2 * retriever.dimension).fill(0.1), ['a', 'b'], ['1', '2']);
  await writer.close();
  await retriever.dispose();
  const arrays = empty('npy', ['f16.npy', 'i32.npy'], async (folder) => {
    for (const name of ['f16', 'i32']) await readNpy(join(folder, `${name}.npy`));
  });
  await writeNpy(join(arrays, 'f16.npy'), hostTensor('f16', [3, 2], new Uint16Array(6)));
  await writeNpy(join(arrays, 'i32.npy'), hostTensor('i32', [5], new Int32Array(5)));

  const exchanged = {
    jsonl: ['v.jsonl'],
    parquet: ['v.parquet'],
    npy: Object.values(NPY_FILES).map((name) => `v/${name}`),
  };
  for (const format of EXCHANGE_FORMATS) {
    const path = format === 'npy' ? 'v' : `v.${format}`;
    const folder = empty(`exchanged vectors (${format})`, exchanged[format], async (copy) => {
      for await (const _ of readRows(join(copy, path), format));
    });
    const row = {
      title: 'T',
      text: 'x',
      metadata: { a: 1 },
      space: 'ab',
      step: 1,
      time: 5,
      corrected: false,
    };
    const source = {
      space: { id: 'ab', dimension: 3, model: 'm' },
      total: 3,
      async *rows() {
        yield [0, 1, 2].map((i) => ({ ...row, id: `p${i}`, vector: Float32Array.of(i, 0.5, -1) }));
      },
    };
    await exportVectors(source, join(folder, path), { format });
  }

  for (const kind of ['ridge', 'mean-shift'] as const) {
    const folder = empty(
      `corrector (${kind})`,
      ['corrector.json', 'corrector.safetensors'],
      async (path) => {
        const { corrector } = await loadCorrector(path, { compute: { threads: 1 } });
        await corrector.dispose();
      },
      { weight: 1 },
    );
    const rows = Float32Array.from({ length: 60 * 4 }, (_, i) => Math.sin(i * i));
    const sizes = { dimension: 4, toDimension: 4 };
    const corrector = await fitCorrector(
      kind,
      { stale: rows, fresh: rows },
      { ...sizes, steps: 2, compute: { threads: 1 } },
    );
    await saveCorrector(`${folder}-new`, corrector, {
      kind,
      ...sizes,
      fromSpace: 'a',
      toSpace: 'b',
      sample: 60,
      heldOutError: 0.1,
    });
    cpSync(`${folder}-new`, folder, { recursive: true });
    await corrector.dispose();
  }

  const tensor = hostTensor('f32', [2, 3], new Float32Array(6).fill(1));
  const identity = { method: 'in-batch', seed: 1 };
  const state = [
    'state.json',
    'ledger.json',
    'manifest.json',
    'parameters.safetensors',
    'optimizer.safetensors',
  ];
  const run = empty(
    'checkpoint',
    state.map((name) => `checkpoint/${name}`),
    (folder) => readCheckpoint(folder, identity),
  );
  const checkpoint = {
    step: 4,
    parameters: { w: tensor },
    frozen: null,
    optimizer: { 'm/w': tensor },
    method: {},
    best: { value: 0.5, step: 3, evaluationsSince: 1 },
    ledger: { steps: 4 },
  };
  await writeCheckpoint(run, checkpoint, identity);

  const { comparison, runs } = sampleComparison(2);
  const settings = { fingerprint: 'f1', settings: resolveSettings({ data: 'd', out: 'o', steps: 10 }) };
  add('settings of a run', { 'settings.json': JSON.stringify(settings) }, (folder) =>
    readRunSettings(folder),
  );
  const event = (step: number) =>
    JSON.stringify({ step, epoch: step / 10, wallMs: step, kind: 'train', loss: 1 / (1 + step), lr: 0.1 });
  add('event log', { 'metrics.jsonl': `${[1, 2, 3].map(event).join('\n')}\n` }, (folder) =>
    readEventLog(join(folder, 'metrics.jsonl')),
  );
  add('result of a run', { 'run.json': JSON.stringify(runs[0]) }, (folder) =>
    readRunResult(join(folder, 'run.json')),
  );
  const results = combineRuns(comparison, { name: 'toy', fingerprint: 'f1', documents: 9 }, runs);
  add('results of a comparison', { 'results.json': JSON.stringify(results) }, async (folder) =>
    formatResults(await readResults(join(folder, 'results.json'))),
  );
  const config = {
    name: 'negatives',
    data: 'data',
    out: 'runs',
    base: { model: 'static', 'batch-size': 16 },
    budget: { steps: 10 },
    seeds: [1, 2],
    arms: [
      { name: 'a', method: 'in-batch' },
      { name: 'b', method: 'in-batch', temperature: 0.1 },
    ],
    evaluate: { split: 'test', metrics: ['ndcg@10'], queries: 5 },
  };
  add('comparison', { 'comparison.json': JSON.stringify(config) }, (folder) =>
    readComparison(join(folder, 'comparison.json')),
  );
  const options = {
    model: 'static',
    'batch-size': 16,
    steps: 3,
    lr: 0.1,
    'query-prompt': 'q: ',
    matryoshka: [8, 16],
  };
  add('config file', { 'config.json': JSON.stringify(options) }, (folder) =>
    readConfigFile(join(folder, 'config.json'), TRAIN_OPTIONS),
  );
}
