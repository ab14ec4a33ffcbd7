import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';
import type { Segment } from './language-system.ts';

/** Windows in which a long text is read. */
export interface TextWindows {
  /** Tokens of a window: those that are scored and those before them, ≥ 2. */
  readonly window: number;
  /** Tokens between the beginnings of windows, from 1 to `window`. Each window scores the tokens that earlier ones have not. */
  readonly stride: number;
}

/** Options of windows. */
export const WINDOW_OPTIONS = {
  window: {
    type: 'integer',
    value: 'n',
    min: 2,
    defaultHelp: '1024, or what the model reads at most',
    help: 'tokens that are read at once',
  },
  stride: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'the window',
    help: 'tokens between the beginnings of windows; below the window, each token has at least window − stride tokens before it',
  },
} as const satisfies OptionTable;

/** Default length of a window, in tokens. */
const WINDOW = 1024;

/**
 * Fills in the defaults of windows, and checks them.
 *
 * @param maxTokens  longest sequence that the model reads; undefined if there is no limit
 * @throws UsageError for a window that the model cannot read, and for a stride beyond the window, which would skip tokens
 */
export function textWindows(
  given: { readonly window?: number | undefined; readonly stride?: number | undefined },
  maxTokens = Number.POSITIVE_INFINITY,
): TextWindows {
  const { window = Math.min(WINDOW, maxTokens) } = given;
  const { stride = window } = given;
  if (!(Number.isSafeInteger(window) && window >= 2)) {
    throw new UsageError(`${option('window')} must be a whole number of at least 2, found ${window}`);
  }
  if (window > maxTokens) {
    throw new UsageError(
      `${option('window', window)} is more than the ${maxTokens} tokens that the model reads`,
      {
        help: `give ${option('window', maxTokens)} or less`,
      },
    );
  }
  if (!(Number.isSafeInteger(stride) && stride >= 1)) {
    throw new UsageError(`${option('stride')} must be a whole number of at least 1, found ${stride}`);
  }
  if (stride > window) {
    throw new UsageError(`${option('stride', stride)} is more than ${option('window', window)}`, {
      help: 'tokens between two windows would never be scored',
    });
  }
  return { window, stride };
}

/**
 * Cuts a document into windows.
 *
 *     window i covers tokens [i · stride, i · stride + window), and scores those that no earlier window covers
 *
 * A token without any token before it in its window cannot be predicted, and is not scored: the first token of the document, and where
 * `stride` equals `window` the first token of each window. This is how perplexity is usually computed with transformers.
 *
 * @param ids  tokens of one document, start token included if there is one
 * @yields segments in order, as views of `ids`; none without a token to score
 */
export function* windowsOf(
  ids: Int32Array,
  { window, stride }: TextWindows,
  document?: string,
): Generator<Segment & { readonly start: number }> {
  for (let start = 0, covered = 0; covered < ids.length; start += stride) {
    const end = Math.min(start + window, ids.length);
    const from = Math.max(covered - start, 1);
    covered = end;
    if (start + from < end) yield { ids: ids.subarray(start, end), from, document, start };
  }
}
