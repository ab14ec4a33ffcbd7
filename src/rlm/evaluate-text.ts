import type { TextDocument } from '../data/text-corpus.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { type NoteListener, tellNote } from '../util/option-name.ts';
import {
  countScored,
  type LanguageSystem,
  type ScoreOptions,
  type Segment,
  scoredTokens,
} from './language-system.ts';
import { textWindows, windowsOf } from './text-windows.ts';

/** Options of `evaluateText`. */
export interface EvaluateTextOptions extends ScoreOptions {
  /** Tokens that are read at once, ≥ 2. Default 1,024, or what the model reads at most. */
  readonly window?: number | undefined;
  /** Tokens between the beginnings of windows, from 1 to `window`. Default the window. */
  readonly stride?: number | undefined;
  /** Number of tokens to score, ≥ 1. Default all. */
  readonly limitTokens?: number | undefined;
  /** Number of tokens that will be scored, for the progress. Default `limitTokens`. */
  readonly expectedTokens?: number | undefined;
  /** Called for documents that are left out. */
  readonly onNote?: NoteListener | undefined;
}

/** Likelihood of one document, for paired comparisons of systems. */
export interface DocumentLikelihood {
  /** Id of the document. */
  readonly id: string;
  /** −Σ log p(x_t | x_<t) of the scored tokens, in nats. */
  readonly nats: number;
  /** Number of tokens scored. */
  readonly tokens: number;
}

/** Likelihood of documents under a language system. */
export interface TextEvaluation {
  /** nats / tokens */
  readonly natsPerToken: number;
  /** nats / words */
  readonly natsPerWord: number;
  /** exp(natsPerToken); infinite where this is no number of double precision, above 709 nats. */
  readonly perplexity: number;
  /** exp(natsPerWord); infinite where this is no number of double precision, above 709 nats. */
  readonly wordPerplexity: number;
  /** nats / (ln 2 · bytes): comparable between tokenizers. */
  readonly bitsPerByte: number;
  /** Number of tokens scored. */
  readonly tokens: number;
  /** Words of the scored text: runs of characters that are no white space. */
  readonly words: number;
  /** UTF-8 bytes of the scored text. */
  readonly bytes: number;
  /** −Σ log p(x_t | x_<t) of all scored tokens. */
  readonly nats: number;
  /** Likelihood of each document, in the order of the documents. Documents without a scored token are left out. */
  readonly documents: readonly DocumentLikelihood[];
}

/** Tokens that are scored at once. */
const GROUP_TOKENS = 4096;

/**
 * Measures how well a language system predicts documents.
 *
 * Each document is tokenised alone, with the tokens that the tokenizer puts before texts, and read in windows (see `windowsOf`): no
 * window holds tokens of two documents. Each token is scored at most once. A token without any token before it in its window has no
 * probability and is not scored: where the tokenizer has no start token the first token of a document, and where `stride` equals
 * `window` the first token of each further window. Perplexities are those that the usual loop of transformers computes. The tokens that
 * a tokenizer puts behind texts are not scored.
 *
 * One document and a group of 4,096 scored tokens are in memory at a time.
 *
 * @param documents  documents, such as those of `streamTextCorpus`
 * @throws UsageError for windows that the model cannot read, and where there is no token to score
 */
export async function evaluateText(
  system: LanguageSystem,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  options: EvaluateTextOptions = {},
): Promise<TextEvaluation> {
  const {
    window,
    stride,
    limitTokens,
    expectedTokens = limitTokens,
    onNote,
    onProgress,
    ...compute
  } = options;
  const windows = textWindows({ window, stride }, system.model.decoder.maxTokens);
  const likelihoods: { id: string; nats: number; tokens: number }[] = [];
  let [tokens, words, bytes] = [0, 0, 0];
  let group: { segment: Segment; to: { nats: number; tokens: number } }[] = [];
  let waiting = 0;
  const scoreGroup = async () => {
    const tell = (done: number) =>
      onProgress?.({ stage: 'score', done, total: expectedTokens, unit: 'tokens' });
    const [before, share] = [tokens, waiting];
    const scores = await system.score(
      group.map(({ segment }) => segment),
      {
        ...compute,
        onProgress: ({ done, total = done }) =>
          tell(before + Math.floor((share * done) / Math.max(1, total))),
      },
    );
    for (const [i, { to }] of group.entries()) {
      for (const logProbability of scores[i]!) to.nats -= logProbability;
      to.tokens += scores[i]!.length;
      tokens += scores[i]!.length;
    }
    group = [];
    waiting = 0;
    tell(tokens);
  };
  const left = new LeftOut();
  for await (const document of documents) {
    const most = (limitTokens ?? Number.POSITIVE_INFINITY) - tokens - waiting;
    const { segments, scored } = documentSegments(system, document, windows, most);
    if (segments.length === 0) {
      left.add(document.id);
      continue;
    }
    words += wordsIn(scored);
    bytes += Buffer.byteLength(scored);
    const to = { id: document.id, nats: 0, tokens: 0 };
    likelihoods.push(to);
    for (const segment of segments) {
      group.push({ segment, to });
      waiting += scoredTokens(segment);
      if (waiting >= GROUP_TOKENS) await scoreGroup();
    }
    if (limitTokens !== undefined && tokens + waiting >= limitTokens) break;
  }
  if (group.length > 0) await scoreGroup();
  left.tell(onNote);
  if (tokens === 0) throw nothingToScore();
  const nats = likelihoods.reduce((sum, each) => sum + each.nats, 0);
  if (Number.isNaN(nats))
    throw new UndriftError('the likelihood of the text is not a number', {
      help: 'the weights of the model are damaged, or its training has diverged',
    });
  const [natsPerToken, natsPerWord] = [nats / tokens, nats / Math.max(1, words)];
  return {
    ...{ natsPerToken, natsPerWord },
    perplexity: Math.exp(natsPerToken),
    wordPerplexity: Math.exp(natsPerWord),
    bitsPerByte: nats / (Math.LN2 * Math.max(1, bytes)),
    ...{ tokens, words, bytes, nats },
    documents: likelihoods,
  };
}

/** Makes the error of documents without a token to score. */
export const nothingToScore = (): UsageError =>
  new UsageError('the text has no token to score', {
    help: 'a document needs at least two tokens, or a tokenizer with a start token',
  });

/**
 * Counts the tokens of documents that `evaluateText` would score with the same options.
 *
 * @param limit  number at which counting stops
 */
export async function countScoredTokens(
  { model }: Pick<LanguageSystem, 'model'>,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  given: { readonly window?: number | undefined; readonly stride?: number | undefined },
  limit = Number.POSITIVE_INFINITY,
): Promise<number> {
  const windows = textWindows(given, model.decoder.maxTokens);
  let tokens = 0;
  for await (const document of documents) {
    tokens += countScored(documentSegments({ model }, document, windows, limit - tokens).segments);
    if (tokens >= limit) break;
  }
  return tokens;
}

/**
 * Cuts a document into segments.
 *
 * @param limit  number of tokens to score at most
 * @returns the segments, and the text of their scored tokens
 */
export function documentSegments(
  { model: { tokenizer } }: Pick<LanguageSystem, 'model'>,
  { id, text }: TextDocument,
  windows: { readonly window: number; readonly stride: number },
  limit = Number.POSITIVE_INFINITY,
): { readonly segments: Segment[]; readonly scored: string } {
  const { before } = tokenizer.wrapper;
  // At most one token of each window is not scored.
  const needed = limit + limit / (windows.stride === 1 ? 1 : windows.stride - 1) + windows.window + 2;
  const own = tokenizer.encodeRaw(text, Math.ceil(needed));
  const ids = new Int32Array(before.length + own.length);
  ids.set(before);
  ids.set(own, before.length);
  const segments: Segment[] = [];
  const runs: { start: number; end: number }[] = [];
  let rest = limit;
  for (const segment of windowsOf(ids, windows, id)) {
    const begin = segment.start;
    // Tokens that every text begins with are read, and say nothing about this one.
    const from = Math.max(segment.from, before.length - begin);
    const end = Math.min(segment.ids.length, from + rest);
    if (from >= end) continue;
    rest -= end - from;
    segments.push({ ...segment, from, ids: segment.ids.subarray(0, end) });
    if (runs.at(-1)?.end === begin + from) runs.at(-1)!.end = begin + end;
    else runs.push({ start: begin + from, end: begin + end });
  }
  const isWhole = runs.length === 1 && runs[0]!.end - runs[0]!.start === own.length;
  const textOf = ({ start, end }: { start: number; end: number }) =>
    tokenizer.decode(ids.subarray(start, end), { skipSpecialTokens: false });
  return { segments, scored: isWhole ? text : runs.map(textOf).join('') };
}

const wordsIn = (text: string): number => {
  let words = 0;
  for (const _ of text.matchAll(/\S+/g)) words += 1;
  return words;
};

/** Documents without a token to score. */
class LeftOut {
  private first = '';
  private number = 0;

  add(id: string): void {
    if (this.number === 0) this.first = id;
    this.number += 1;
  }

  tell(onNote: NoteListener | undefined): void {
    if (this.number === 0) return;
    const others = this.number === 1 ? '' : ` and ${count(this.number - 1)} more`;
    tellNote(
      onNote,
      `left out documents of a single token, which have none to score: ${this.first}${others}`,
    );
  }
}
