import { permutation, type RngKey, uniform } from '../util/rng.ts';

/** Shares of the chosen tokens that are replaced by a mask, and by a random token; the others stay as they are. */
const [MASKED, RANDOM] = [0.8, 0.1] as const;

/** Token sequence of which some tokens were chosen to be predicted. */
export interface ChosenTokens {
  /** Token ids with the replacements. */
  readonly ids: Int32Array;
  /** Places that were chosen, in ascending order. */
  readonly places: Int32Array;
  /** Tokens that stood in the places. */
  readonly answer: Int32Array;
}

/**
 * Chooses tokens of a sequence to be predicted, uniformly and without replacement. Of each ten chosen tokens, eight become masks and one a
 * random token on average; one stays as it is.
 *
 * @param tokens  token ids, without special tokens
 * @param options.share  share of the tokens to choose, in (0, 1]; at least one token is chosen
 * @param options.mask  id of the mask
 * @param options.drawn  tokens among which random ones are drawn
 * @paper Devlin et al. 2019: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
 */
export function chooseTokens(
  tokens: Int32Array,
  key: RngKey,
  { share, mask, drawn }: { readonly share: number; readonly mask: number; readonly drawn: Int32Array },
): ChosenTokens {
  const count = tokens.length === 0 ? 0 : Math.max(1, Math.round(share * tokens.length));
  const places = Int32Array.from(permutation(key, tokens.length).subarray(0, count)).sort();
  const answer = places.map((place) => tokens[place]!);
  const ids = tokens.slice();
  const dice = new Float32Array(2 * count);
  uniform(key, dice, tokens.length);
  for (const [i, place] of places.entries()) {
    const [how, which] = [dice[2 * i]!, dice[2 * i + 1]!];
    if (how < MASKED) ids[place] = mask;
    else if (how < MASKED + RANDOM) ids[place] = drawn[Math.floor(which * drawn.length)]!;
  }
  return { ids, places, answer };
}
