import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { formatParity } from '../../cli/parity.ts';
import { exportModel } from '../../export/export-model.ts';
import { measureParity } from '../../export/measure-parity.ts';
import { Graph } from '../../graph/graph.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { padBatch } from '../../text/pad-batch.ts';
import { DataError } from '../../util/errors.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import type { Retriever } from '../retriever/retriever.ts';
import { TokenFeeds } from '../retriever/token-feeds.ts';
import { usualPooling } from './config-json.ts';
import { loadRetriever, saveRetriever } from './model-folder.ts';

// Folders whose settings decide on vectors, with the vectors of sentence-transformers (tools/reference/st_folders_golden.py).
const FIXTURES = fileURLToPath(new URL('fixtures/sentence-transformers', import.meta.url));
const SIDES = ['query', 'document'] as const;

const QUERY = 'search query the ';

interface Case {
  base: string;
  files: Record<string, Record<string, unknown>>;
  texts: string[];
  scaled: boolean;
  query: number[][];
  document: number[][];
}
const cases: Record<string, Case> = JSON.parse(readFileSync(join(FIXTURES, 'cases.json'), 'utf8'));

/** Lays the files of a case, and others, over its base. */
function folderOf(name: string, others: Case['files'] = {}): string {
  const folder = tempFiles();
  const { base, files } = cases[name]!;
  cpSync(join(FIXTURES, base), folder, { recursive: true });
  for (const [path, content] of Object.entries({ ...files, ...others })) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), JSON.stringify(content));
  }
  return folder;
}

/** A file of a case with other fields. */
const changed = (name: string, file: string, fields: object): string => {
  const folder = folderOf(name);
  const path = join(folder, file);
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify({ ...before, ...fields }));
  return folder;
};

const unit = (row: readonly number[]): number[] => {
  const length = Math.hypot(...row);
  return row.map((x) => (length === 0 ? 0 : x / length));
};

/** Compares vectors: directions, or the vectors themselves if their lengths count. */
async function check(retriever: Retriever, name: string): Promise<void> {
  const { texts, scaled } = cases[name]!;
  for (const side of SIDES) {
    const expected = cases[name]![side].flatMap((row) => (scaled ? row : unit(row)));
    const found = await retriever.encode(side, texts);
    expect(found.every(Number.isFinite), side).toBe(true);
    expect(largestDifference(found, expected), side).toBeLessThan(1e-5);
  }
}

test.each(Object.keys(cases))(
  '%s: the vectors of sentence-transformers, before and after saving',
  async (name) => {
    const retriever = await loadRetriever(folderOf(name));
    await check(retriever, name);
    const saved = join(tempFiles(), 'saved');
    await saveRetriever(saved, retriever, { onnx: false });
    const notes: string[] = [];
    const again = await loadRetriever(saved, { onNote: (note) => notes.push(note) });
    expect(notes).toEqual([]);
    expect(again.config).toEqual(retriever.config);
    expect(embeddingSpaceId(again)).toBe(embeddingSpaceId(retriever));
    await check(again, name);
    await Promise.all([retriever.dispose(), again.dispose()]);
  },
);

describe('a setting that would change vectors is refused, with file, meaning and remedy', () => {
  const BERT_FILE = 'sentence_bert_config.json';
  test.each<[string, string, object, RegExp]>([
    [
      'length-none',
      'config.json',
      { auto_map: { AutoModel: 'modeling.Own' } },
      /own Python code.*remove auto_map/s,
    ],
    ['length-none', 'config.json', { quantization_config: { bits: 4 } }, /the weights are quantised/],
    ['length-none', 'config.json', { use_bidirectional_attention: true }, /"is_causal": false/],
    ['length-none', 'config.json', { transformers_weights: 'other.safetensors' }, /in a file of that name/],
    ['length-none', BERT_FILE, { transformer_task: 'fill-mask' }, /does not give token vectors/],
    [
      'length-none',
      BERT_FILE,
      { modality_config: { message: {}, text: {} } },
      /do not go through the model as they/,
    ],
    ['length-none', BERT_FILE, { query_expansion: { strategy: 'fixed' } }, /filled up with mask tokens/],
    ['length-none', BERT_FILE, { tokenizer_name_or_path: 'other' }, /tokenizer is that of another model/],
    [
      'length-none',
      BERT_FILE,
      { model_args: { variant: 'fp16' } },
      /"model_args.variant" is a field that we do not/,
    ],
    ['length-none', BERT_FILE, { processing_kwargs: { text: { truncation: false } } }, /not cut in this way/],
    ['length-none', BERT_FILE, { max_seq_length: 'many' }, /"max_seq_length" must be a number of tokens/],
    ['length-none', BERT_FILE, { do_lower_case: 'yes' }, /"do_lower_case" must be true or false/],
    ['length-none', BERT_FILE, { something_new: 3 }, /"something_new" is a field that we do not know/],
    ['length-none', '1_Pooling/config.json', { pooling_mode: ['mean', 'max'] }, /pooling by mean and max/],
    ['length-none', '1_Pooling/config.json', { pooling_mode_new: true }, /"pooling_mode_new" is a field/],
    [
      'length-none',
      '1_Pooling/config.json',
      { include_prompt: 'no' },
      /"include_prompt" must be true or false/,
    ],
    [
      'dense-Tanh',
      'dense-a/config.json',
      { activation_function: 'own.Function' },
      /"own.Function", which we do not/,
    ],
    [
      'dense-Tanh',
      'dense-a/config.json',
      { module_output_name: 'other' },
      /does not act on the pooled vector/,
    ],
    ['dense-Tanh', 'dense-a/config.json', { out_features: 7 }, /'linear.weight' has the shape \[6, 8\]/],
    [
      'dense-two',
      'n/config.json',
      { module_input_name: 'token_embeddings' },
      /does not normalise the vector/,
    ],
    ['length-none', 'config_sentence_transformers.json', { model_type: 'SparseEncoder' }, /no single vector/],
    [
      'length-none',
      'config_sentence_transformers.json',
      { similarity_fn_name: 'manhattan' },
      /ranked by distance/,
    ],
    [
      'length-none',
      'config_sentence_transformers.json',
      { default_prompt_name: 'x' },
      /there is no such prompt/,
    ],
    [
      'length-none',
      'config_sentence_transformers.json',
      { prompts: { query: 3 } },
      /must be a text, found 3/,
    ],
    ['length-none', 'config_sentence_transformers.json', { truncate_dim: -1 }, /must be a positive integer/],
    [
      'dense-two',
      'config_sentence_transformers.json',
      { similarity_fn_name: 'dot', truncate_dim: 3 },
      /cuts vectors after/,
    ],
    ['length-none', 'adapter_config.json', { peft_type: 'LORA' }, /an adapter lies beside the model/],
  ])('%s: %s with %j', async (name, file, fields, message) => {
    const folder = changed(name, file, fields);
    const error = await loadRetriever(folder).then(
      () => expect.unreachable(),
      (cause) => cause,
    );
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(message);
    if (!/shape/.test(message.source)) expect(error.message).toContain(join(folder, file));
    if (!/must be/.test(message.source)) expect(error.message).toContain('help: ');
  });

  test('modules that are Python code of the folder, or have one name', async () => {
    const { 'modules.json': list } = cases['length-none']!.files as unknown as Record<
      string,
      { type: string }[]
    >;
    const own = list!.map((module, i) => (i === 0 ? { ...module, type: 'custom_st.Transformer' } : module));
    const folder = folderOf('length-none');
    writeFileSync(join(folder, 'modules.json'), JSON.stringify(own));
    await expect(loadRetriever(folder)).rejects.toThrow(/the module custom_st.Transformer is Python code/);
    const same = list!.map((module) => ({ ...module, name: 'one' }));
    writeFileSync(join(folder, 'modules.json'), JSON.stringify(same));
    await expect(loadRetriever(folder)).rejects.toThrow('two modules have the name "one"');
  });
});

test('fields that change no vector are read without a word', async () => {
  const folder = changed('length-none', 'config.json', {
    auto_map: { AutoModelForSequenceClassification: 'modeling.Own' },
    quantization_config: null,
    gradient_checkpointing: false,
    a_field_of_another_program: [1],
  });
  const file = join(folder, 'sentence_bert_config.json');
  writeFileSync(file, JSON.stringify({ unpad_inputs: true, model_args: { dtype: 'float16' } }));
  const notes: string[] = [];
  const retriever = await loadRetriever(folder, { onNote: (note) => notes.push(note) });
  expect(notes).toEqual([]);
  await check(retriever, 'length-none');
  await retriever.dispose();
});

test('a truncate_dim that is not below the size keeps all dimensions', async () => {
  const folder = changed('length-none', 'config_sentence_transformers.json', { truncate_dim: 8 });
  const retriever = await loadRetriever(folder);
  expect(retriever.config.encoder.dimensions).toBeUndefined();
  await check(retriever, 'length-none');
  await retriever.dispose();
});

test.each([
  [{ architectures: ['Qwen3ForCausalLM'] }, 'lasttoken'],
  [{ architectures: ['Qwen3ForCausalLM'], is_causal: false }, 'mean'],
  [{ architectures: ['Qwen3Model'] }, 'mean'],
  [{}, 'mean'],
])('the pooling of a folder that names none: %j', (config, pooling) => {
  expect(usualPooling(config)).toBe(pooling);
});

test('training leaves the prompt out of the pooling too, and one encoder serves both sides', async () => {
  const retriever = await loadRetriever(folderOf('prompt-mean'));
  const graph = new Graph('training');
  const declared = retriever.declare(graph);
  const batches = { queries: 'query', documents: 'document' } as const;
  const made = retriever.embedSides(declared, batches, { packed: true });
  for (const [name, embedding] of Object.entries(made)) graph.output(name, embedding);
  const program = await Program.compile(graph);
  const { texts } = cases['prompt-mean']!;
  const padded = Object.fromEntries(
    Object.entries(batches).map(([name, side]) => {
      const store = retriever.tokenize(side, texts.length, (row) => texts[row]!);
      return [name, padBatch(store, [...texts.keys()], { padId: retriever.padId })];
    }),
  );
  const feeds = new TokenFeeds(retriever.encoder.vocabSize).feeds(padded, { packed: true });
  const outputs = await program.run({ ...retriever.weights, ...feeds });
  for (const [name, side] of Object.entries(batches)) {
    const expected = cases['prompt-mean']![side].flatMap(unit);
    expect(largestDifference(float32(outputs[name], name), expected)).toBeLessThan(1e-5);
  }
  await Promise.all([program.dispose(), retriever.dispose()]);
});

test('each new setting changes the embedding space', async () => {
  const idOf = async (folder: string) => embeddingSpaceId(await loadRetriever(folder));
  const id = await idOf(folderOf('prompt-mean'));
  const ids = [
    id,
    await idOf(changed('prompt-mean', '1_Pooling/config.json', { include_prompt: true })),
    await idOf(changed('prompt-mean', 'sentence_bert_config.json', { do_lower_case: true })),
    await idOf(folderOf('dense-Tanh')),
    await idOf(folderOf('dense-ReLU')),
    await idOf(changed('dense-ReLU', 'dense-a/config.json', { bias: false })),
  ];
  expect(new Set(ids).size).toBe(ids.length);
});

describe('what is written for other programs', () => {
  test.each(['prompt-mean', 'prompt-cls', 'dense-two', 'lower-case', 'static-dense', 'model2vec'])(
    '%s: every format is verified, and its own parity check agrees',
    async (name) => {
      const retriever = await loadRetriever(folderOf(name));
      const folder = join(tempFiles(), 'exported');
      const { files } = await exportModel(folder, retriever, {
        formats: ['sentence-transformers', 'onnx', 'onnx-embedding'],
        texts: cases[name]!.texts,
      });
      for (const { largestDifference } of files) expect(largestDifference).toBeLessThan(1e-5);
      const report = await measureParity(folder, { texts: cases[name]!.texts });
      expect(report.sides.flatMap(({ clients }) => clients.map(({ fault }) => fault))).toEqual(
        report.sides.flatMap(({ clients }) => clients.map(() => undefined)),
      );
      expect(report.ok).toBe(true);
      await retriever.dispose();
    },
  );
});

test('doctor --parity names known differences from Python, and then does not say that all agree', async () => {
  const prompts = { passage: 'the ', query: QUERY };
  const folder = changed('length-none', 'config_sentence_transformers.json', { prompts, truncate_dim: 4 });
  const report = await measureParity(folder, { texts: cases['length-none']!.texts });
  expect(report.ok).toBe(true);
  expect(report.differences).toEqual([
    expect.stringContaining('the prompt "passage" comes before documents'),
    expect.stringContaining('"truncate_dim": vectors are cut, then normalised'),
  ]);
  const text = formatParity(folder, report);
  expect(text).not.toContain('all agree');
  expect(text).toContain('onnxruntime and transformers.js agree; Python differs');
  const same = await measureParity(folderOf('length-none'), { texts: ['the cat'] });
  expect(same.differences).toEqual([]);
  expect(formatParity(folder, same)).toContain('all agree');
});
