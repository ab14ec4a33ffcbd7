import { type Dim, multiplyDims } from '../../graph/dims.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { dimUnderPrefix, type GraphPlace } from '../../nn/parameters.ts';
import { underPrefix } from '../../util/prefixes.ts';
import type { TokenInputs } from '../architectures/architecture.ts';

/** Options of `tokenInputs`. */
export interface TokenInputOptions {
  /**
   * Number of texts, if it follows from that of another batch: `multiplyDims('queries', 4)` for four passages per query. Default: a
   * dimension with the name of the batch.
   */
  texts?: Dim | undefined;
  /**
   * Whether to declare the inputs `<name>/places`, `<name>/slots` and `<name>/kept`, with which padding is left out of the layers (see
   * `Packing`). Default false.
   */
  packed?: boolean | undefined;
  /** Whether to declare the input `<name>/types` i64[<name>, <name>Tokens], the segment of each token. Default false. */
  types?: boolean | undefined;
  /** Whether to declare the input `<name>/documents` i64[<name>, <name>Tokens], the document of each token. Default false. */
  documents?: boolean | undefined;
  /** Whether to declare the input `<name>/dropout` u32[<name>], a random word for each text. Default false. */
  dropout?: boolean | undefined;
}

/**
 * Declares a padded batch of texts as inputs of a graph: `<name>/ids` i64 and `<name>/mask` f32 of shape [<name>, <name>Tokens]. The
 * model's prefix stands before these names. `TokenFeeds` and `wholeTableFeeds` make the tensors to feed.
 *
 * The number of texts is the dimension `<name>` whatever the prefix: two models that read batches of one name read equal numbers of
 * texts. The lengths in tokens are dimensions of each model.
 *
 * @param place graph and prefix of the model that reads the batch, as `declare` returns them
 * @param name name of the batch
 */
export function tokenInputs(
  { graph, prefix }: GraphPlace,
  name: string,
  { texts = name, packed = false, types = false, documents = false, dropout = false }: TokenInputOptions = {},
): TokenInputs {
  const tokens = dimUnderPrefix(prefix, `${name}Tokens`);
  const input = (part: string, dtype: 'i64' | 'f32' | 'u32', shape: Dim[]): Tensor =>
    graph.input(underPrefix(prefix, `${name}/${part}`), dtype, shape);
  const places = multiplyDims(texts, tokens);
  return {
    ids: input('ids', 'i64', [texts, tokens]),
    mask: input('mask', 'f32', [texts, tokens]),
    ...(types && { types: input('types', 'i64', [texts, tokens]) }),
    ...(documents && { documents: input('documents', 'i64', [texts, tokens]) }),
    ...(packed && {
      packing: {
        places: input('places', 'i64', [dimUnderPrefix(prefix, `${name}Places`)]),
        slots: input('slots', 'i64', [places]),
        kept: input('kept', 'f32', [places]),
      },
    }),
    ...(dropout && { dropoutKeys: input('dropout', 'u32', [texts]) }),
  };
}
