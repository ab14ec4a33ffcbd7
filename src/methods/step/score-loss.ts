import type { Dim } from '../../graph/dims.ts';
import type { Graph } from '../../graph/graph.ts';
import { concat, matmul } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type MatryoshkaSize, matryoshka } from '../../losses/matryoshka.ts';
import type { DeclaredParameters, Parameters } from '../../nn/parameters.ts';
import type { DType } from '../../onnx/dtypes.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { type GivenOptions, type OptionTable, optionValues } from '../../util/option-table.ts';
import type { MethodContext } from '../contract/method.ts';

/** Options of methods that can take their loss at several sizes of the embeddings. */
export const MATRYOSHKA_OPTIONS = {
  /** Embedding sizes that are trained besides the full one, in dimensions; see `matryoshka`. */
  matryoshka: {
    type: 'numbers',
    whole: true,
    min: 1,
    default: [],
    help: 'smaller embedding sizes to train besides the full one, such as 256,128,64',
    group: 'Loss',
    aliases: ['matryoshka_dims'],
  },
  /** Weight of the loss at each size of `matryoshka`. Default: 1 each. */
  matryoshkaWeights: {
    type: 'numbers',
    min: 0,
    default: [],
    defaultHelp: '1 for each',
    help: 'weight of the loss at each of these sizes; the full size has weight 1',
    group: 'Loss',
    aliases: ['matryoshka_weights'],
  },
} as const satisfies OptionTable;

/** Tensors that a loss computes from a batch. */
export interface LossParts {
  /** f32[]: loss that is differentiated. */
  trainingLoss: Tensor;
  /** f32[]: loss to plot. Default: the training loss. */
  interpretableLoss?: Tensor;
  /** f32[] each: figures to log, by name. Default none. */
  metrics?: Readonly<Record<string, Tensor>>;
}

/** Batch as a loss sees it, at one size of its embeddings. */
export interface ScoredBatch {
  /** f32[queries, candidates]: q_i·d_j / τ. Columns of embedded documents come first, then those of fed candidates. */
  readonly scores: Tensor;
  /** f32[queries, D]: embeddings of the queries. */
  readonly queries: Tensor;
  /** f32[documents, D]: embeddings of the documents that the step embeds; absent where all candidates are fed. */
  readonly documents?: Tensor | undefined;
  /** Part that the method trains beside the retriever, as declared in the graph of the step; absent where there is none. */
  readonly part?: DeclaredParameters | undefined;
  /** Divides products of embeddings by the temperature τ. */
  divide(products: Tensor): Tensor;
  /**
   * Declares an input of the step, such as masks, columns or partition functions. A name is declared once, even where the loss is
   * taken at several sizes.
   */
  input(name: string, dtype: DType, shape: readonly Dim[]): Tensor;
}

/** Builds a loss over a batch in the graph of a step. Gradients reach both encoders; embeddings of fed candidates get none. */
export type ScoreLoss = (batch: ScoredBatch) => LossParts;

/**
 * Builds the loss of embeddings. With the method's option `matryoshka`, it is the weighted sum over several sizes of the
 * embeddings; the interpretable loss and the metrics are then those of the full size.
 *
 * @param embeddings.queries  f32[queries, D]
 * @param embeddings.documents  f32[documents, D], where documents are embedded
 * @param embeddings.fed  f32[…, D] each: further candidates
 * @param p  parameters of the graph
 * @param part  part beside the retriever, where the graph has one
 */
export function lossOfEmbeddings(
  { retriever, temperature, options }: Pick<MethodContext, 'retriever' | 'temperature' | 'options'>,
  embeddings: { queries: Tensor; documents?: Tensor | undefined; fed?: Readonly<Record<string, Tensor>> },
  p: Parameters,
  loss: ScoreLoss,
  part?: DeclaredParameters,
): LossParts {
  const divide = (products: Tensor) => temperature.divide(products, p);
  const input = inputOnce(embeddings.queries.graph);
  const { fed = {} } = embeddings;
  const at = (cut: Readonly<Record<string, Tensor>>): LossParts => {
    const { queries, documents } = cut as { queries: Tensor; documents?: Tensor };
    // Products are concatenated, not embeddings: with fewer queries than dimensions there is less to copy. Fed candidates may be
    // many: the queries are divided by the temperature there, not the products and their gradients.
    const parts = documents ? [divide(matmul(queries, documents, { transB: true }))] : [];
    for (const name of Object.keys(fed)) {
      parts.push(matmul(divide(queries), cut[`fed/${name}`]!, { transB: true }));
    }
    return loss({ scores: concat(parts, 1), queries, documents, part, divide, input });
  };
  const all = {
    queries: embeddings.queries,
    ...(embeddings.documents && { documents: embeddings.documents }),
    ...Object.fromEntries(Object.entries(fed).map(([name, tensor]) => [`fed/${name}`, tensor])),
  };
  const sizes = matryoshkaSizes(optionValues(MATRYOSHKA_OPTIONS, options), retriever.dimension);
  if (sizes.length === 0) return at(all);
  let full: LossParts | undefined;
  const trainingLoss = matryoshka<Readonly<Record<string, Tensor>>>(all, sizes, {
    normalize: retriever.config.encoder.normalize,
    loss(cut, dimensions) {
      const parts = at(cut);
      if (dimensions === retriever.dimension) full = parts;
      return parts.trainingLoss;
    },
  });
  const { interpretableLoss = full!.trainingLoss, metrics = {} } = full!;
  return { trainingLoss, interpretableLoss, metrics };
}

function inputOnce(graph: Graph): ScoredBatch['input'] {
  const declared = new Map<string, Tensor>();
  return (name, dtype, shape) => {
    const before = declared.get(name);
    if (before) return before;
    const tensor = graph.input(name, dtype, shape);
    declared.set(name, tensor);
    return tensor;
  };
}

/**
 * Lists the embedding sizes to train, largest first. The full size is always among them, with weight 1 unless it is listed. The
 * list is empty where only the full size is trained.
 *
 * @param dimension  full size, D
 * @throws UsageError for a size beyond D, a size given twice, or weights that do not match the sizes
 */
export function matryoshkaSizes(
  { matryoshka: listed = [], matryoshkaWeights: weights = [] }: GivenOptions<typeof MATRYOSHKA_OPTIONS>,
  dimension: number,
): MatryoshkaSize[] {
  if (weights.length > 0 && weights.length !== listed.length) {
    throw new UsageError(
      `${weights.length} ${option('matryoshkaWeights')} for ${listed.length} sizes of ${option('matryoshka')}`,
      {
        help: 'give one weight for each size, or none: all count alike then',
      },
    );
  }
  const tooLarge = listed.find((size) => size > dimension);
  if (tooLarge !== undefined) {
    throw new UsageError(
      `${option('matryoshka', tooLarge)} is more than the ${dimension} dimensions of the model`,
      {
        help: `use sizes below ${dimension}, such as ${dimension / 2},${dimension / 4}`,
      },
    );
  }
  const twice = listed.find((size, i) => listed.indexOf(size) !== i);
  if (twice !== undefined) throw new UsageError(`${option('matryoshka')} names ${twice} twice`);
  if (listed.every((size) => size === dimension)) return [];
  const sizes = listed.map((dimensions, i) => ({ dimensions, weight: weights[i] ?? 1 }));
  const full = listed.includes(dimension) ? [] : [{ dimensions: dimension, weight: 1 }];
  return [...full, ...sizes].sort((a, b) => b.dimensions - a.dimensions);
}
