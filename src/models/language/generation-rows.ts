import { rngKey, uniform } from '../../util/rng.ts';
import type { CachedReading } from './cached-reading.ts';
import { chooseToken } from './choose-token.ts';
import type { GenerationSettings } from './generation-options.ts';
import type { LanguageModel } from './language-model.ts';
import { TextStream } from './text-stream.ts';

/** Model that generates. A `LanguageModel` is one. */
export type GeneratingModel = Pick<LanguageModel, 'tokenizer' | 'endIds'> & {
  readonly decoder: Pick<LanguageModel['decoder'], 'maxTokens' | 'vocabSize'>;
};

/** Way of reading texts that grow, with the logits after the last token of each. A `CachedReading` is one. */
export type TextReading = Pick<CachedReading, 'logits' | 'read' | 'keep'>;

/** Maximum number of tokens of the texts that are generated together, whose keys and values are in memory. */
const TOKENS_TOGETHER = 8192;

/** Maximum number of texts that are generated together. */
const TEXTS_TOGETHER = 32;

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

/** Text that is being generated. */
export class GenerationRow {
  /** Ids of the prompt. */
  readonly prompt: ArrayLike<number>;
  /** Pieces of text that have come since they were last taken. */
  readonly pieces: string[] = [];
  /** Maximum number of new tokens. */
  readonly room: number;
  private readonly model: GeneratingModel;
  private readonly settings: GenerationSettings;
  private readonly number: number;
  private readonly stream: TextStream;
  private readonly ids: number[] = [];
  private readonly random = new Float32Array(1);
  private finish: Generation['finish'] | undefined;

  /**
   * @param options.number  number of the text in its list, which seeds its random numbers
   * @param options.context  tokens of the prompt that are text, before which the new text stands. Default: the prompt
   */
  constructor(
    model: GeneratingModel,
    prompt: ArrayLike<number>,
    {
      settings,
      number,
      context = prompt,
    }: { settings: GenerationSettings; number: number; context?: ArrayLike<number> },
  ) {
    const window = model.decoder.maxTokens ?? Number.POSITIVE_INFINITY;
    this.model = model;
    this.prompt = prompt;
    this.settings = settings;
    this.number = number;
    this.stream = new TextStream(model.tokenizer, context, settings.stop);
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

/**
 * Groups texts to generate together: those of similar length, so that there is little padding.
 *
 * @param texts each with the number of tokens that it reads before the new ones
 */
export function* generationGroups<T extends { readonly row: GenerationRow; readonly tokens: number }>(
  texts: readonly T[],
): Generator<T[]> {
  const order = texts.toSorted((a, b) => a.tokens - b.tokens);
  for (let start = 0; start < order.length; ) {
    const group: T[] = [];
    for (const each of order.slice(start, start + TEXTS_TOGETHER)) {
      if (group.length > 0 && (group.length + 1) * (each.tokens + each.row.room) > TOKENS_TOGETHER) break;
      group.push(each);
    }
    yield group;
    start += group.length;
  }
}

/**
 * Generates texts together, and yields after each pass.
 *
 * @param begin  reads the prompts of the texts with these numbers among `rows`
 * @param signal  ends the generation when it is aborted, with its reason as the error
 */
export async function* generationPasses(
  rows: readonly GenerationRow[],
  begin: (numbers: readonly number[]) => Promise<TextReading>,
  signal?: AbortSignal,
): AsyncGenerator<void, void, void> {
  const begun = [...rows.keys()].filter((i) => !rows[i]!.isDone);
  let active = begun.map((i) => rows[i]!);
  if (active.length === 0) return;
  signal?.throwIfAborted();
  const reading = await begin(begun);
  for (;;) {
    signal?.throwIfAborted();
    const V = reading.logits.length / active.length;
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
