import type { DenseLayer } from '../../nn/dense.ts';
import { count } from '../../util/format.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { hasOnlyPlainWeights } from '../retriever/stored-weights.ts';
import {
  type CardFacts,
  factLines,
  resultsSection,
  table,
  trainingSection,
  yaml,
  yamlList,
} from './card-sections.ts';
import { code, usageSection } from './model-card-usage.ts';
import type { ExportDtype } from './onnx-export.ts';
import { type ExportFormat, savedFormats } from './tower-files.ts';

/** Facts about a retriever beyond the model itself. All are optional; the card claims nothing that is not given. */
export interface ModelCard extends CardFacts {
  /** Formats of the folder. Default: all formats of a saved model. */
  formats?: readonly ExportFormat[];
  /** Dtypes of the stored weights, the first of which is shown. Default f32. */
  dtypes?: readonly ExportDtype[];
}

/**
 * Writes the README of a model folder: a Hugging Face model card, with the YAML head that the hub reads. It
 * describes the model, its training and results, and how to load it.
 *
 * @param tower  side of the tower, for the folder of one tower of a pair
 */
export function modelCard(
  retriever: Retriever,
  card: ModelCard & { embeddingSpace: string },
  tower?: Side,
): string {
  const name = `${card.name ?? 'Dense retriever'}${tower ? `: ${tower} tower` : ''}`;
  // sentence-transformers has a module for all encoders except static ones whose token weights could not be
  // folded.
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

function head(
  { encoder }: Retriever,
  card: ModelCard,
  { name, formats }: { name: string; formats: readonly ExportFormat[] },
): string {
  const { results = [] } = card;
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
    ...factLines(card),
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
  { config, encoder, encodeDtype, tokenizer, weights, trainedSteps }: Retriever,
  card: { embeddingSpace: string },
) {
  const { pooling, normalize, dense = [], includePrompt = true, dimensions, model } = encoder.config;
  const parameters = Object.values(weights).reduce((sum, { data }) => sum + data.length, 0);
  // DistilBERT and GPT-2 have other names for the number of layers.
  const layers = model.num_hidden_layers ?? model.n_layers ?? model.n_layer;
  const size = layers === undefined ? '' : `, ${layers} layers of ${encoder.hiddenSize}`;
  const rows: [string, string][] = [
    ['Embedding space', `\`${card.embeddingSpace}\` (vectors of another id must not be mixed with these)`],
    ...(encodeDtype === 'f32'
      ? []
      : [
          [
            'Encoding',
            `Undrift multiplies ${encodeDtype}; vectors that other programs make in f32 are not of this space`,
          ] as [string, string],
        ]),
    ['Architecture', `\`${model.model_type}\`${size}, ${config.towers} towers`],
    ['Parameters', count(parameters)],
    ['Vocabulary', `${count(tokenizer.vocabSize)} tokens`],
    [
      'Pooling',
      encoder.moduleClass === 'StaticEmbedding'
        ? 'mean of the token vectors'
        : `${pooling}${includePrompt ? '' : ', without the tokens of the prompt'}`,
    ],
    ...dense.map((layer): [string, string] => ['Projection', layerText(layer)]),
    ...(dimensions
      ? [
          [
            'Dimensions',
            `the first ${dimensions} of ${dense.at(-1)?.size ?? encoder.hiddenSize}` +
              `${normalize ? ', then normalised; sentence-transformers normalises before it cuts: use `normalize_embeddings=True`' : ''}`,
          ] as [string, string],
        ]
      : []),
    ['Normalised', normalize ? 'yes' : 'no'],
    ['Longest text', `${config.maxTokens.query} tokens (query), ${config.maxTokens.document} (document)`],
    ['Prompts', `${code(config.prompts.query)} (query), ${code(config.prompts.document)} (document)`],
    ['Training steps', count(trainedSteps)],
  ];
  return table(['', ''], rows);
}

/** Describes a dense layer. */
function layerText({ size, bias, activation, residual, normalizeInput }: DenseLayer): string {
  const parts = [
    `${normalizeInput ? 'of the normalised vector, ' : ''}${activation ?? 'linear'}, to ${size} dimensions`,
    ...(bias ? ['with a bias'] : []),
    ...(residual ? ['added to its input'] : []),
  ];
  return parts.join(', ');
}
