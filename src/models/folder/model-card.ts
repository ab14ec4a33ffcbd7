import type { Retriever, Side } from '../retriever/retriever.ts';
import { hasOnlyPlainWeights } from '../retriever/stored-weights.ts';
import { code, usageSection } from './model-card-usage.ts';
import type { ExportDtype } from './onnx-export.ts';
import { type ExportFormat, savedFormats } from './tower-files.ts';

/** What is known about a model beside the model itself. All of it is optional: what is not known is not claimed. */
export interface ModelCard {
  /** Title of the card. */
  name?: string;
  /** ISO 639 codes, for example `en`. */
  languages?: readonly string[];
  /** SPDX identifier in lower case, for example `apache-2.0`. */
  license?: string;
  /** Folder or Hub name of the model that training started from. */
  baseModel?: string;
  /** Commit of the base model on the Hub. */
  baseRevision?: string;
  datasets?: readonly CardDataset[];
  /** How it was trained: id of the method, what it does in a sentence, whom to cite. */
  method?: { id: string; description?: string; citation?: string };
  /** Settings of the training, in the order in which they are to be shown; null for none. */
  options?: Readonly<Record<string, unknown>>;
  /** What training has cost up to this model: sums, and below each its parts with their shares. */
  cost?: readonly { readonly name: string; readonly amount: string; readonly share?: string }[];
  results?: readonly CardResult[];
  /** What the folder is to be read by; default: all that a saved model is. */
  formats?: readonly ExportFormat[];
  /** How its weights are stored, the type that is shown first (f32). */
  dtypes?: readonly ExportDtype[];
}

export interface CardDataset {
  name: string;
  documents?: number;
  queries?: number;
}

export interface CardResult {
  dataset: string;
  split: string;
  /** Number of queries behind the figures. */
  queries?: number;
  /** By metric: `ndcg@10`, `mrr@10`, … */
  metrics: Readonly<Record<string, number>>;
  /** Other systems on the same queries, by name: `bm25`. */
  baselines?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/**
 * The README of a model folder: what the model is, what it was trained on and how, its results, and how to load it; in the
 * form of a Hugging Face model card, whose YAML head the Hub reads.
 *
 * @param tower  set for the folder of one tower of a pair
 */
export function modelCard(
  retriever: Retriever,
  card: ModelCard & { embeddingSpace: string },
  tower?: Side,
): string {
  const name = `${card.name ?? 'Dense retriever'}${tower ? `: ${tower} tower` : ''}`;
  // All but bags whose token weights could not be folded: for those, others have no module.
  const known = (['query', 'document'] as const).every((side) => hasOnlyPlainWeights(retriever, side));
  const { formats = savedFormats(known), dtypes } = card;
  const sections = [
    head(retriever, card, { name, formats }),
    `# ${name}`,
    introduction(retriever, tower),
    facts(retriever, card),
    trainingSection(retriever, card),
    resultsSection(card),
    usageSection(retriever, { tower, formats, dtypes }),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

/** A JSON text is a YAML text too. */
const yaml = (value: unknown): string => JSON.stringify(value);

const yamlList = (key: string, values: readonly unknown[]): string[] =>
  values.length === 0 ? [] : [`${key}:`, ...values.map((value) => `- ${yaml(value)}`)];

function head(
  { encoder }: Retriever,
  card: ModelCard,
  { name, formats }: { name: string; formats: readonly ExportFormat[] },
): string {
  const { results = [], datasets = [], languages = [] } = card;
  const known = formats.includes('sentence-transformers');
  const readable = known || formats.includes('huggingface');
  const onnx = formats.some((format) => format.startsWith('onnx'));
  const metrics = [...new Set(results.flatMap((result) => Object.keys(result.metrics)))];
  const index = results.map(({ dataset, split, metrics: values }) => ({
    task: { type: 'information-retrieval', name: 'Information Retrieval' },
    dataset: { name: dataset, type: dataset, split },
    metrics: Object.entries(values).map(([type, value]) => ({ type, value, name: type })),
  }));
  return [
    '---',
    `library_name: ${known ? 'sentence-transformers' : readable ? 'undrift' : 'transformers.js'}`,
    'pipeline_tag: sentence-similarity',
    ...yamlList('tags', [
      ...(known ? ['sentence-transformers'] : []),
      'sentence-similarity',
      'feature-extraction',
      'dense-retrieval',
      ...(encoder.moduleClass === 'StaticEmbedding' ? ['static-embeddings'] : []),
      ...(onnx ? ['onnx'] : []),
      ...(formats.includes('onnx') ? ['transformers.js'] : []),
      'undrift',
    ]),
    ...yamlList('language', languages),
    ...(card.license ? [`license: ${yaml(card.license)}`] : []),
    ...(card.baseModel ? [`base_model: ${yaml(card.baseModel)}`] : []),
    ...yamlList(
      'datasets',
      datasets.map((dataset) => dataset.name),
    ),
    ...yamlList('metrics', metrics),
    ...(index.length > 0 ? ['model-index:', `- name: ${yaml(name)}`, `  results: ${yaml(index)}`] : []),
    '---',
  ].join('\n');
}

function introduction({ config, encoder, dimension }: Retriever, tower: Side | undefined): string {
  const made = {
    Transformer: `a transformer (\`${config.encoder.model.model_type}\`)`,
    StaticEmbedding: 'a bag of subword vectors (no word order, no attention)',
  }[encoder.moduleClass];
  const towers = tower
    ? `This is the encoder of ${sideName(tower)}; its vectors are compared with those of the other tower, \`../${tower === 'query' ? 'document' : 'query'}\`.`
    : config.towers === 'separate'
      ? 'Queries and documents have an encoder each: the folders `query` and `document`.'
      : 'Queries and documents have one encoder.';
  const score = config.encoder.normalize ? 'cosine' : 'dot product';
  return `A dense retriever: ${made} that turns queries and documents into vectors of ${dimension} dimensions, so that a document's relevance to a query is the ${score} of their vectors. ${towers} Trained with Undrift.`;
}

const sideName = (side: Side): string => (side === 'query' ? 'queries' : 'documents');

function facts(
  { config, encoder, tokenizer, weights, trainedSteps }: Retriever,
  card: { embeddingSpace: string },
) {
  const { pooling, normalize, projectionSize, dimensions, model } = encoder.config;
  const parameters = Object.values(weights).reduce((sum, { data }) => sum + data.length, 0);
  // DistilBERT and GPT-2 have names of their own for it.
  const layers = model.num_hidden_layers ?? model.n_layers ?? model.n_layer;
  const size = layers === undefined ? '' : `, ${layers} layers of ${encoder.hiddenSize}`;
  const rows: [string, string][] = [
    ['Embedding space', `\`${card.embeddingSpace}\` (vectors of another id must not be mixed with these)`],
    ['Architecture', `\`${model.model_type}\`${size}, ${config.towers} towers`],
    ['Parameters', parameters.toLocaleString('en')],
    ['Vocabulary', `${tokenizer.vocabSize.toLocaleString('en')} tokens`],
    ['Pooling', encoder.moduleClass === 'StaticEmbedding' ? 'mean of the token vectors' : pooling],
    ...(projectionSize
      ? [['Projection', `linear, to ${projectionSize} dimensions`] as [string, string]]
      : []),
    ...(dimensions
      ? [
          [
            'Dimensions',
            `the first ${dimensions} of ${projectionSize ?? encoder.hiddenSize}` +
              `${normalize ? ', then normalised; sentence-transformers normalises before it cuts: use `normalize_embeddings=True`' : ''}`,
          ] as [string, string],
        ]
      : []),
    ['Normalised', normalize ? 'yes' : 'no'],
    ['Longest text', `${config.maxTokens.query} tokens (query), ${config.maxTokens.document} (document)`],
    ['Prompts', `${code(config.prompts.query)} (query), ${code(config.prompts.document)} (document)`],
    ['Training steps', trainedSteps.toLocaleString('en')],
  ];
  return table(['', ''], rows);
}

function trainingSection({ trainedSteps }: Retriever, card: ModelCard): string {
  const { datasets = [], method, options = {}, cost = [], baseModel, baseRevision } = card;
  if (datasets.length === 0 && !method) return '';
  const parts = ['## Training'];
  if (method) {
    const { id, description, citation } = method;
    parts.push(
      `Method: \`${id}\`${description ? `, ${description}` : ''}; ${trainedSteps.toLocaleString('en')} steps${baseModel ? `, from ${code(baseModel)}${baseRevision ? ` at commit ${code(baseRevision)}` : ''}` : ''}.${citation ? ` ${citation}` : ''}`,
    );
  }
  if (datasets.length > 0) {
    const count = (value: number | undefined) => value?.toLocaleString('en') ?? '';
    parts.push(
      table(
        ['data', 'documents', 'training queries'],
        datasets.map((dataset) => [cell(dataset.name), count(dataset.documents), count(dataset.queries)]),
      ),
    );
  }
  const settings = Object.entries(options)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => [cell(key), code(value)]);
  if (settings.length > 0) parts.push(table(['option', 'value'], settings));
  if (cost.length > 0) {
    const rows = cost.map(({ name, amount, share }) => [
      cell(share === undefined ? name : `of which ${name}`),
      cell(amount),
      share ?? '',
    ]);
    parts.push('What it cost up to this model:', table(['', '', ''], rows));
  }
  return parts.join('\n\n');
}

function resultsSection({ results = [] }: ModelCard): string {
  if (results.length === 0) return '';
  const parts = results.map(({ dataset, split, queries, metrics, baselines = {} }) => {
    const names = Object.keys(metrics);
    const row = (name: string, values: Readonly<Record<string, number>>) => [
      cell(name),
      ...names.map((metric) => values[metric]?.toFixed(4) ?? ''),
    ];
    const rows = [
      ...Object.entries(baselines).map(([name, values]) => row(name, values)),
      row('this model', metrics),
    ];
    return `${cell(dataset)}, ${cell(split)} split${queries === undefined ? '' : `, ${queries.toLocaleString('en')} queries`}:\n\n${table(['', ...names.map(cell)], rows)}`;
  });
  return ['## Results', ...parts].join('\n\n');
}

/** A text inside a table. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
