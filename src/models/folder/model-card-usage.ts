import type { Encoder } from '../retriever/encoder.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { PROMPT_LENGTH } from '../retriever/whole-encoder.ts';
import type { ExportDtype } from './onnx-export.ts';
import { type ExportFormat, onnxFileName } from './tower-files.ts';

/** Settings of {@link usageSection}. */
export interface UsageOptions {
  /** Side of the tower, for the folder of one tower of a pair. */
  tower?: Side | undefined;
  /** Formats of the folder. */
  formats: readonly ExportFormat[];
  /** Dtypes of the stored weights; examples use the first. Default f32. */
  dtypes?: readonly ExportDtype[] | undefined;
}

/** Names of the dtypes in transformers.js. */
const TRANSFORMERS_JS_DTYPES: Readonly<Record<ExportDtype, string>> = {
  f32: 'fp32',
  f16: 'fp16',
  int8: 'q8',
};

/**
 * Writes the section of a model card that shows how to load the folder, in each program that can. Tests run
 * its examples.
 */
export function usageSection(
  retriever: Retriever,
  { tower, formats, dtypes = ['f32'] }: UsageOptions,
): string {
  const { config } = retriever;
  const pair = config.towers === 'separate' && !tower;
  const folder = pair ? '/document' : '';
  const side = tower ?? 'document';
  const has = (...wanted: ExportFormat[]) => wanted.some((format) => formats.includes(format));
  const parts = ['## Use'];
  if (has('sentence-transformers', 'huggingface')) parts.push(...undrift());
  if (has('onnx')) parts.push(...transformersJsPart(retriever, side, folder, dtypes[0]!));
  if (has('onnx', 'onnx-embedding')) {
    const file = onnxFileName(has('onnx-embedding') ? 'onnx-embedding' : 'onnx', dtypes[0]!);
    parts.push(...onnxruntime(retriever, side, `path/to/model${folder}`, file));
  }
  if (has('sentence-transformers')) parts.push(...sentenceTransformers(retriever, tower, pair));
  else if (has('huggingface') && retriever.encoder.moduleClass === 'StaticEmbedding') {
    parts.push(
      'sentence-transformers has no module for a bag with weights of its tokens but without normalisation, so it does not read this model.',
    );
  }
  return parts.join('\n\n');
}

const undrift = (): string[] => [
  'With Undrift, which adds prompts and special tokens and cuts long texts by itself:',
  fence('ts', [
    "import { loadRetriever } from 'undrift';",
    '',
    "const retriever = await loadRetriever('path/to/model');",
    "const queries = await retriever.encode('query', ['a question']); // Float32Array, one row after the other",
    "const documents = await retriever.encode('document', ['a text', 'another text']);",
  ]),
];

function transformersJsPart(retriever: Retriever, side: Side, folder: string, dtype: ExportDtype): string[] {
  const { query, document } = retriever.config.prompts;
  const text = [
    `With transformers.js, which runs \`${onnxFileName('onnx', dtype)}\` and reads neither pooling nor prompts from the folder.`,
    query === '' && document === ''
      ? ''
      : ` The prompts, ${code(query)} before queries and ${code(document)} before documents, are the caller's to add.`,
    retriever.encoder.specialTokens
      ? ' (Of texts that it cuts it loses the closing special token too, so their vectors differ a little.)'
      : '',
  ];
  return [text.join(''), fence('js', transformersJs(retriever, side, folder, dtype))];
}

/** The file itself pools and normalises, so only tokenization is left to the caller. */
function onnxruntime(retriever: Retriever, side: Side, folder: string, file: string): string[] {
  const { config, encoder, padId } = retriever;
  const special = encoder.specialTokens ? '' : ', add_special_tokens=False';
  const types = encoder.tokenTypes ? ', "token_type_ids": np.zeros_like(ids)' : '';
  const skipped =
    encoder.config.includePrompt === false
      ? `, "${PROMPT_LENGTH}": np.full(len(ids), ${retriever.unpooledTokens(side)})`
      : '';
  return [
    `With onnxruntime alone; \`${file}\` pools and normalises by itself:`,
    fence('python', [
      'import numpy as np, onnxruntime',
      'from tokenizers import Tokenizer',
      '',
      `tokenizer = Tokenizer.from_file("${folder}/tokenizer.json")`,
      `tokenizer.enable_truncation(max_length=${config.maxTokens[side]})`,
      `tokenizer.enable_padding(pad_id=${padId})`,
      `session = onnxruntime.InferenceSession("${folder}/${file}")`,
      `encodings = tokenizer.encode_batch([${JSON.stringify(`${config.prompts[side]}a text`)}]${special})`,
      'ids = np.array([e.ids for e in encodings], dtype=np.int64)',
      'mask = np.array([e.attention_mask for e in encodings], dtype=np.int64)',
      `inputs = {"input_ids": ids, "attention_mask": mask${types}${skipped}}`,
      'vectors = session.run(["sentence_embedding"], inputs)[0]',
    ]),
  ];
}

/** Architectures to which other programs add a layer over the first token, which Undrift does not use. */
const HAS_POOLER: ReadonlySet<string> = new Set(['bert', 'mpnet', 'roberta', 'xlm-roberta']);

function sentenceTransformers(
  { config, encoder }: Retriever,
  tower: Side | undefined,
  pair: boolean,
): string[] {
  const lengths = config.maxTokens;
  const longest = tower ? lengths[tower] : Math.max(lengths.query, lengths.document);
  const cut =
    lengths.query === lengths.document || tower || pair
      ? ''
      : ` It has one length for all texts, ${longest} tokens; Undrift cuts queries at ${lengths.query}, documents at ${lengths.document}.`;
  const pooler = HAS_POOLER.has(encoder.config.model.model_type)
    ? ' (It may say that a pooler is missing: there is none.)'
    : '';
  const encode = (side: Side) =>
    pair ? `model.encode_${side}(["a text"])` : `model.encode(["a text"], prompt_name="${side}")`;
  const sides = tower ? [tower] : (['query', 'document'] as const);
  return [
    `With sentence-transformers${pair ? ' 5 or newer' : ''}.${cut}${pooler}`,
    fence('python', [
      'from sentence_transformers import SentenceTransformer',
      '',
      `model = SentenceTransformer("path/to/model"${encoder.moduleClass === 'StaticEmbedding' ? ', device="cpu"' : ''})`,
      ...sides.map((side) => `${side === 'query' ? 'queries' : 'documents'} = ${encode(side)}`),
    ]),
  ];
}

/**
 * Tells whether the pipeline of transformers.js has this pooling and computes it as sentence-transformers
 * does. Other poolings are part of the ONNX model.
 */
export const pipelinePools = ({ config, moduleClass, dimension, hiddenSize }: Encoder): boolean =>
  moduleClass === 'Transformer' &&
  dimension === hiddenSize &&
  (config.dense ?? []).length === 0 &&
  config.includePrompt !== false &&
  (config.pooling === 'mean' || config.pooling === 'cls');

/**
 * Writes the example for transformers.js. Its pipeline pools token vectors; other poolings, dense layers,
 * truncated dimensions and static encoders are outputs of the model itself.
 */
function transformersJs(retriever: Retriever, side: Side, folder: string, dtype: ExportDtype): string[] {
  const { config, encoder } = retriever;
  const text = `['${escaped(config.prompts[side])}a text']`;
  const { pooling, normalize } = encoder.config;
  if (pipelinePools(encoder)) {
    return [
      "import { pipeline } from '@huggingface/transformers';",
      '',
      `const embed = await pipeline('feature-extraction', 'path/to/model${folder}', { dtype: '${TRANSFORMERS_JS_DTYPES[dtype]}' });`,
      `const vectors = await embed(${text}, { pooling: '${pooling}', normalize: ${normalize} });`,
    ];
  }
  const special = encoder.specialTokens ? '' : ', add_special_tokens: false';
  const skips = encoder.config.includePrompt === false;
  return [
    `import { AutoModel, AutoTokenizer${skips ? ', Tensor' : ''} } from '@huggingface/transformers';`,
    '',
    `const tokenizer = await AutoTokenizer.from_pretrained('path/to/model${folder}');`,
    `const model = await AutoModel.from_pretrained('path/to/model${folder}', { dtype: '${TRANSFORMERS_JS_DTYPES[dtype]}' });`,
    `const inputs = tokenizer(${text}, { padding: true, truncation: true${special} });`,
    ...(skips
      ? [
          `// Tokens of the prompt, which are not pooled: ${retriever.unpooledTokens('query')} of a query, ${retriever.unpooledTokens('document')} of a document; one number for each text.`,
          `inputs.${PROMPT_LENGTH} = new Tensor('int64', BigInt64Array.of(${retriever.unpooledTokens(side)}n), [1]);`,
        ]
      : []),
    'const { sentence_embedding } = await model(inputs);',
  ];
}

const fence = (language: string, lines: readonly string[]): string =>
  [`\`\`\`${language}`, ...lines, '```'].join('\n');

const escaped = (text: string): string => JSON.stringify(text).slice(1, -1).replaceAll("'", "\\'");

/** Formats a value as Markdown code. Texts are in quotation marks, so that spaces at their ends are visible. */
export const code = (value: unknown): string =>
  `\`${JSON.stringify(value).replaceAll('`', "'").replaceAll('|', '\\|')}\``;
