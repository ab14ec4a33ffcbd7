import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import type { GivenOptions } from '../../util/option-table.ts';
import { type CachedPasses, CachedReading } from './cached-reading.ts';
import { type GENERATION_OPTIONS, generationSettings, refusePackedWeights } from './generation-options.ts';
import {
  type GeneratingModel,
  type Generation,
  GenerationRow,
  generationGroups,
  generationPasses,
  type TextReading,
} from './generation-rows.ts';
import type { LanguageModel } from './language-model.ts';
import { PackedPasses } from './packed-passes.ts';
import { checkTokens } from './score-tokens.ts';

/** Beginning of a text: the text, to which the tokenizer's first tokens are added, or the token ids themselves. */
export type Prompt = string | ArrayLike<number>;

/** Options of {@link generate}. */
export interface GenerationOptions extends GivenOptions<typeof GENERATION_OPTIONS>, ComputeOptions {
  /** Ends the generation when it is aborted, with the signal's reason as the error. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Continues a text, token by token.
 *
 * The prompt is read in one pass, or in a few if it is long; each new token is one further pass over the weights (see
 * `CachedReading`). Text comes when its characters are complete and it cannot be a part of a stop string.
 *
 * @returns iterator of the pieces of the new text, which returns the whole at its end
 * @throws UsageError when there is nothing to start from, the prompt is longer than the model reads, or an option is wrong
 */
export async function* generate(
  model: LanguageModel,
  prompt: Prompt,
  options: GenerationOptions = {},
): AsyncGenerator<string, Generation, void> {
  return yield* generateByPasses(model, prompt, options);
}

/**
 * Continues a text as {@link generate}, by another way of reading it.
 *
 * @param makePasses  makes the way of reading the text. Default: the language model alone
 */
export async function* generateByPasses(
  model: LanguageModel,
  prompt: Prompt,
  options: GenerationOptions,
  makePasses?: (compute: ComputeOptions) => CachedPasses,
): AsyncGenerator<string, Generation, void> {
  const settings = generationSettings(options);
  if (makePasses) refusePackedWeights(settings);
  const row = new GenerationRow(model, promptIds(model, prompt), { settings, number: 0 });
  const packed = await packedPasses(model, [row], options);
  try {
    return yield* streamed(row, passes(model, [row], options, packed ? () => packed : makePasses));
  } finally {
    await packed?.dispose();
  }
}

/**
 * Continues a text as {@link generate}, for models that read texts of another length or in another way than their base.
 *
 * @param model  tokenizer, end tokens and number of tokens; `maxTokens` is the longest text that is read
 * @param begin  reads the prompt
 */
export async function* generateByReading(
  model: GeneratingModel,
  prompt: Prompt,
  options: GenerationOptions,
  begin: (prompt: ArrayLike<number>, compute: ComputeOptions) => Promise<TextReading>,
): AsyncGenerator<string, Generation, void> {
  const settings = generationSettings(options);
  refusePackedWeights(settings);
  const row = new GenerationRow(model, promptIds(model, prompt), { settings, number: 0 });
  const read = () => begin(row.prompt, computeOf(options));
  return yield* streamed(row, generationPasses([row], read, options.signal));
}

/** Yields the pieces of a text as its passes make them. */
async function* streamed(
  row: GenerationRow,
  made: AsyncGenerator<void, void, void>,
): AsyncGenerator<string, Generation, void> {
  for await (const _ of made) yield* row.pieces.splice(0).filter((text) => text !== '');
  yield* row.pieces.filter((text) => text !== '');
  return row.result();
}

/**
 * Continues a text, and returns the whole when it is finished.
 *
 * @throws UsageError as {@link generate} does
 */
export async function generateText(
  model: LanguageModel,
  prompt: Prompt,
  options: GenerationOptions = {},
): Promise<Generation> {
  const [generation] = await generateMany(model, [prompt], options);
  return generation!;
}

/**
 * Continues many texts, several at a time. Each sampled text depends on the seed and its number in the list, and not on the others.
 *
 * @param options.onDone  called with the number of texts that are finished
 * @returns the new text of each prompt
 * @throws UsageError as {@link generate} does
 */
export async function generateMany(
  model: LanguageModel,
  prompts: readonly Prompt[],
  options: GenerationOptions & { readonly onDone?: ((texts: number) => void) | undefined } = {},
): Promise<Generation[]> {
  const settings = generationSettings(options);
  const rows = prompts.map(
    (prompt, number) => new GenerationRow(model, promptIds(model, prompt), { settings, number }),
  );
  let done = 0;
  const packed = await packedPasses(model, rows, options);
  try {
    for (const group of generationGroups(rows.map((row) => ({ row, tokens: row.prompt.length })))) {
      const together = group.map(({ row }) => row);
      for await (const _ of passes(model, together, options, packed && (() => packed)));
      done += group.length;
      options.onDone?.(done);
    }
  } finally {
    await packed?.dispose();
  }
  return rows.map((row) => row.result());
}

/** Packs the weights, where that is asked for and a text has room for new tokens. */
async function packedPasses(
  model: LanguageModel,
  rows: readonly GenerationRow[],
  options: GenerationOptions,
): Promise<PackedPasses | undefined> {
  if (!options.packWeights || rows.every((row) => row.isDone)) return undefined;
  options.signal?.throwIfAborted();
  return await PackedPasses.create(model, computeOf(options));
}

const computeOf = ({ device, threads }: ComputeOptions): ComputeOptions => ({
  ...(device && { device }),
  ...(threads && { threads }),
});

/** Generates texts together, and yields after each pass. */
function passes(
  model: LanguageModel,
  rows: readonly GenerationRow[],
  { signal, ...options }: GenerationOptions,
  makePasses?: (compute: ComputeOptions) => CachedPasses,
): AsyncGenerator<void, void, void> {
  const compute = computeOf(options);
  const begin = (numbers: readonly number[]) =>
    CachedReading.begin(
      model,
      numbers.map((i) => rows[i]!.prompt),
      { ...compute, ...(makePasses && { passes: makePasses(compute) }) },
    );
  return generationPasses(rows, begin, signal);
}

/**
 * Returns the ids of a prompt.
 *
 * @param what  name of the prompt, for messages
 * @throws UsageError when there are none, or too many for the model, or one that the model lacks
 */
function promptIds(
  { tokenizer, decoder }: GeneratingModel,
  prompt: Prompt,
  what = 'a text',
): ArrayLike<number> {
  const ids =
    typeof prompt === 'string' ? [...tokenizer.wrapper.before, ...tokenizer.encodeOrdinary(prompt)] : prompt;
  if (ids.length === 0) {
    throw new UsageError('an empty text, and no token with which texts start', {
      help: 'give the beginning of a text',
    });
  }
  checkTokens(ids, decoder, what);
  return ids;
}
