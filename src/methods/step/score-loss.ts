import type { Dim } from '../../graph/dims.ts';
import type { Graph } from '../../graph/graph.ts';
import { concat, matmul } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type MatryoshkaSize, matryoshka } from '../../losses/matryoshka.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { DType } from '../../onnx/dtypes.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { type GivenOptions, type OptionTable, optionValues } from '../../util/option-table.ts';
import type { MethodContext } from '../contract/method.ts';

/** Options of methods whose losses can be taken at several sizes of the embeddings. */
export const MATRYOSHKA_OPTIONS = {
  /** Smaller sizes of the embeddings that are trained besides the full one; see `matryoshka`. */
  matryoshka: {
    type: 'numbers',
    whole: true,
    min: 1,
    default: [],
    help: 'smaller embedding sizes to train besides the full one, such as 256,128,64',
    group: 'Loss',
    aliases: ['matryoshka_dims'],
  },
  /** The weight of each of these sizes; all 1 where there are none. */
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

/** What a loss makes of the scores of a batch. */
export interface LossParts {
  /** f32[]: differentiated. */
  trainingLoss: Tensor;
  /** f32[]: plotted; default the training loss. */
  interpretableLoss?: Tensor;
  /** f32[]: logged, by name. */
  metrics?: Readonly<Record<string, Tensor>>;
}

/** A batch as a loss sees it, at one size of its embeddings. */
export interface ScoredBatch {
  /** f32[queries, documents]: q_i·d_j / τ, candidates that are fed in further columns. */
  readonly scores: Tensor;
  /** f32[queries, D] */
  readonly queries: Tensor;
  /** f32[documents, D]: those embedded in the step; absent where all candidates are fed. */
  readonly documents?: Tensor | undefined;
  /** Products of embeddings divided by the temperature. */
  divide(products: Tensor): Tensor;
  /** Declares what is fed to a step (masks, columns, partition functions), once however often the loss is taken. */
  input(name: string, dtype: DType, shape: readonly Dim[]): Tensor;
}

/** A loss over a batch, as a part of a step's graph; gradients reach both encoders, and of fed candidates none but the queries'. */
export type ScoreLoss = (batch: ScoredBatch) => LossParts;

/**
 * The loss of embeddings; with the method's option `matryoshka`, its weighted sum over several sizes of them. What is plotted and
 * logged is that of the full size.
 *
 * @param embeddings.queries  f32[queries, D];  @param embeddings.documents  f32[documents, D], where documents are embedded
 * @param embeddings.fed  f32[…, D] each: further candidates
 */
export function lossOfEmbeddings(
  { retriever, temperature, options }: Pick<MethodContext, 'retriever' | 'temperature' | 'options'>,
  embeddings: { queries: Tensor; documents?: Tensor | undefined; fed?: Readonly<Record<string, Tensor>> },
  p: Parameters,
  loss: ScoreLoss,
): LossParts {
  const divide = (products: Tensor) => temperature.divide(products, p);
  const input = inputOnce(embeddings.queries.graph);
  const { fed = {} } = embeddings;
  const at = (cut: Readonly<Record<string, Tensor>>): LossParts => {
    const { queries, documents } = cut as { queries: Tensor; documents?: Tensor };
    // Products are put side by side, not embeddings: with fewer queries than dimensions there is less to copy. What is fed may be
    // long: there it is the queries that are divided by the temperature, not the products and their gradients.
    const parts = documents ? [divide(matmul(queries, documents, { transB: true }))] : [];
    for (const name of Object.keys(fed)) {
      parts.push(matmul(divide(queries), cut[`fed/${name}`]!, { transB: true }));
    }
    return loss({ scores: concat(parts, 1), queries, documents, divide, input });
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
 * The sizes that are trained, largest first, the full one always among them (with weight 1 unless it is listed); none where only it is.
 * @throws UsageError for a size beyond the embedding, one given twice, or weights that do not fit
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
