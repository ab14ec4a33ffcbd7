import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import type { GivenOptions } from '../../util/option-table.ts';
import { rngKey, uniform } from '../../util/rng.ts';
import { type CachedPasses, CachedReading } from './cached-reading.ts';
import { chooseToken } from './choose-token.ts';
import {
  type GENERATION_OPTIONS,
  type GenerationSettings,
  generationSettings,
} from './generation-options.ts';
import type { LanguageModel } from './language-model.ts';
import { checkTokens } from './score-tokens.ts';
import { TextStream } from './text-stream.ts';

/** Beginning of a text: the text, to which the tokenizer's first tokens are added, or the token ids themselves. */
export type Prompt = string | ArrayLike<number>;

/** Options of {@link generate}. */
export interface GenerationOptions extends GivenOptions<typeof GENERATION_OPTIONS>, ComputeOptions {
  /** Ends the generation when it is aborted, with the signal's reason as the error. */
  readonly signal?: AbortSignal | undefined;
}

/** Generated text. */
export interface Generation {
  /** The new text: without the prompt, the end token and the stop string. */
  readonly text: string;
  /** Ids of the new tokens, without the end token. */
  readonly ids: readonly number[];
  /** Number of tokens of the prompt. */
  readonly promptTokens: number;
  /**
   * Reason for the end: an end token, a stop string, the maximum of new tokens, or the longest text that the model reads (`window`).
   */
  readonly finish: 'end' | 'stop' | 'tokens' | 'window';
}

/** Maximum number of tokens of the texts that are generated together, whose keys and values are in memory. */
const TOKENS_TOGETHER = 8192;

/** Maximum number of texts that are generated together. */
const TEXTS_TOGETHER = 32;

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
  const row = new Row(model, promptIds(model, prompt), { settings, number: 0 });
  for await (const _ of passes(model, [row], options, makePasses))
    yield* row.pieces.splice(0).filter((text) => text !== '');
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
    (prompt, number) => new Row(model, promptIds(model, prompt), { settings, number }),
  );
  // Texts of similar length together, so that there is little padding.
  const order = [...rows].sort((a, b) => a.prompt.length - b.prompt.length);
  let done = 0;
  while (done < order.length) {
    const group: Row[] = [];
    for (const row of order.slice(done, done + TEXTS_TOGETHER)) {
      const tokens = row.prompt.length + row.room;
      if (group.length > 0 && (group.length + 1) * tokens > TOKENS_TOGETHER) break;
      group.push(row);
    }
    for await (const _ of passes(model, group, options));
    done += group.length;
    options.onDone?.(done);
  }
  return rows.map((row) => row.result());
}

/** One text that is being generated. */
class Row {
  /** Ids of the prompt. */
  readonly prompt: ArrayLike<number>;
  /** Pieces of text that have come since they were last taken. */
  readonly pieces: string[] = [];
  /** Maximum number of new tokens. */
  readonly room: number;
  private readonly model: LanguageModel;
  private readonly settings: GenerationSettings;
  private readonly number: number;
  private readonly stream: TextStream;
  private readonly ids: number[] = [];
  private readonly random = new Float32Array(1);
  private finish: Generation['finish'] | undefined;

  constructor(
    model: LanguageModel,
    prompt: ArrayLike<number>,
    { settings, number }: { settings: GenerationSettings; number: number },
  ) {
    const window = model.decoder.maxTokens ?? Number.POSITIVE_INFINITY;
    this.model = model;
    this.prompt = prompt;
    this.settings = settings;
    this.number = number;
    this.stream = new TextStream(model.tokenizer, prompt, settings.stop);
    this.room = Math.min(settings.tokens, window - prompt.length);
    if (this.room === 0) this.end();
  }

  get isDone(): boolean {
    return this.finish !== undefined;
  }

  /** Token that was chosen last. */
  get last(): number {
    return this.ids.at(-1)!;
  }

  /** Chooses the next token by its logits, f32[V]. */
  choose(logits: Float32Array): void {
    const { seed } = this.settings;
    uniform(rngKey(seed, this.number, 'generation'), this.random, this.ids.length);
    const id = chooseToken(logits, this.settings, this.random[0]!);
    if (this.model.endIds.has(id)) {
      this.end('end');
      return;
    }
    this.ids.push(id);
    this.pieces.push(this.stream.push(id));
    if (this.stream.stopped) this.end('stop');
    else if (this.ids.length === this.room) this.end();
  }

  result(): Generation {
    const { ids, prompt, stream, finish = 'tokens' } = this;
    return { text: stream.text, ids, promptTokens: prompt.length, finish };
  }

  private end(finish: Generation['finish'] = this.room < this.settings.tokens ? 'window' : 'tokens'): void {
    this.pieces.push(this.stream.end());
    this.finish = this.stream.stopped ? 'stop' : finish;
  }
}

/** Generates texts together, and yields after each pass. */
async function* passes(
  model: LanguageModel,
  rows: readonly Row[],
  { device, threads, signal }: GenerationOptions,
  makePasses?: (compute: ComputeOptions) => CachedPasses,
): AsyncGenerator<void, void, void> {
  let active = rows.filter((row) => !row.isDone);
  if (active.length === 0) return;
  signal?.throwIfAborted();
  const V = model.decoder.vocabSize;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const reading = await CachedReading.begin(
    model,
    active.map(({ prompt }) => prompt),
    { ...compute, ...(makePasses && { passes: makePasses(compute) }) },
  );
  for (;;) {
    signal?.throwIfAborted();
    for (const [i, row] of active.entries())
      if (!row.isDone) row.choose(reading.logits.subarray(i * V, (i + 1) * V));
    yield;
    const left = [...active.keys()].filter((i) => !active[i]!.isDone);
    if (left.length === 0) return;
    // Finished texts go along until they are the half, since leaving them out copies the cache.
    if (left.length <= active.length / 2) {
      reading.keep(left);
      active = left.map((i) => active[i]!);
    }
    await reading.read(active.map(({ last }) => [last]));
  }
}

/**
 * Returns the ids of a prompt.
 *
 * @param what  name of the prompt, for messages
 * @throws UsageError when there are none, or too many for the model, or one that the model lacks
 */
function promptIds(
  { tokenizer, decoder }: LanguageModel,
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
