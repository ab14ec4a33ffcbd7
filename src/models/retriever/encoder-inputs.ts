import type { Program } from '../../runtime/program.ts';
import type { RowEncoder } from './encode-rows.ts';
import { TokenFeeds } from './token-feeds.ts';
import { wholeEncoderFeeds } from './whole-encoder.ts';

/**
 * Token inputs of an encoder as plain data, for this or another process.
 *
 * - `rows`: those of `TokenFeeds` for the batch `texts`, in a graph that gets its weights as inputs
 * - `whole`: those of `wholeEncoder`, which holds its weights; `unpooled` is the number of tokens that pooling leaves out
 */
export type EncoderInputs =
  | { readonly kind: 'rows'; readonly vocabSize: number }
  | { readonly kind: 'whole'; readonly unpooled: number };

/** Returns the function that makes the token inputs of an encoder's program. */
export function encoderFeeds(program: Pick<Program, 'inputs'>, inputs: EncoderInputs): RowEncoder['feeds'] {
  if (inputs.kind === 'rows') {
    const feeder = new TokenFeeds(inputs.vocabSize);
    return (batch) => feeder.feeds({ texts: batch });
  }
  const names = program.inputs.map(({ name }) => name);
  return (batch) => {
    const all = wholeEncoderFeeds(batch, inputs.unpooled);
    return Object.fromEntries(names.map((name) => [name, all[name]!()]));
  };
}
