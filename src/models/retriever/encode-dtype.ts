import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { OptionTable } from '../../util/option-table.ts';

/**
 * Dtypes in which a retriever can encode texts.
 *
 * - `f32`: as it was trained.
 * - `int8`: the products with weights are of 8-bit integers, as in the file that `undrift export --dtype int8` writes (see
 *   `quantizeWeights`). This is about twice as fast on processors with VNNI. Activations are rounded on the range of their batch, so that
 *   the vector of a text depends slightly on the texts that are encoded with it.
 */
export const ENCODE_DTYPES = ['f32', 'int8'] as const;

/** Dtype in which a retriever encodes texts; see {@link ENCODE_DTYPES}. */
export type EncodeDtype = (typeof ENCODE_DTYPES)[number];

/** Option for the dtype in which a retriever encodes. */
export const ENCODE_DTYPE_OPTION = {
  /** Dtype in which texts are encoded. The embedding space of `int8` is not that of `f32`. Default: that of the model, else `f32`. */
  encodeDtype: {
    type: 'choice',
    choices: ENCODE_DTYPES,
    defaultHelp: 'that of the model, else f32',
    help:
      'dtype in which texts are encoded: int8 multiplies 8-bit integers, about twice as fast on processors with VNNI, at some loss of quality; ' +
      'its vectors are of an embedding space of their own',
  },
} as const satisfies OptionTable;

/**
 * Checks that an encoder can encode in a dtype.
 *
 * @param hasLayers whether the encoder has layers, which multiply by weights
 * @throws UsageError if it cannot
 */
export function checkEncodeDtype(dtype: EncodeDtype, hasLayers: boolean): void {
  if (!ENCODE_DTYPES.includes(dtype)) {
    throw new UsageError(`${option('encodeDtype', dtype)} is unknown`, {
      help: `use ${ENCODE_DTYPES.join(' or ')}`,
    });
  }
  if (dtype === 'int8' && !hasLayers) {
    throw new UsageError(
      `${option('encodeDtype', 'int8')} of a static encoder: it adds vectors of tokens, and there is nothing to multiply`,
      { help: 'leave it out' },
    );
  }
}

/** Makes the error for a use of a retriever that its dtype does not allow. */
export const needsF32 = (use: string): UsageError =>
  new UsageError(`this retriever encodes with int8 products, and ${use}`, {
    help: `load the model with ${option('encodeDtype', 'f32')}`,
  });
