import { multiplyDims } from '../../graph/dims.ts';
import type { Graph } from '../../graph/graph.ts';
import { gather, reshape } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import {
  type PhraseLoss,
  type PhraseLossOptions,
  type PhraseTargets,
  phraseLoss,
} from '../../losses/phrase-loss.ts';
import type { MaskedEncoder } from '../../models/retriever/masked-encoder.ts';
import type { PaddedTokens } from '../../models/retriever/token-feeds.ts';
import { tokenInputs } from '../../models/retriever/token-inputs.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { drawSpans, maskSpans } from '../../text/mask-spans.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { SharedPhrases, type SharedSpan } from '../../text/shared-phrases.ts';
import type { RngKey } from '../../util/rng.ts';

/** Names of the two batches of a step, as inputs of its program. */
const [MASKED, KEYS] = ['masked', 'keys'] as const;

/** Pieces of texts with masked spans, and the same pieces without masks, in which the phrases of the spans are looked for. */
export interface SpanBatch {
  readonly masked: PaddedTokens;
  readonly keys: PaddedTokens;
  /** Number of masked spans. */
  readonly spans: number;
  /** Places of the masks and of the right tokens, as inputs of the program. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

/**
 * Masks spans of the pieces of a batch, as `drawSpans` says. Phrases are looked for in all other pieces.
 *
 * @param pieces  token ids of each piece, without special tokens
 * @param key  key of the spans
 * @param documents  document of each piece: only phrases that another piece of the same document has are masked. Default one for all
 */
export function spanBatch(
  pieces: readonly Int32Array[],
  {
    wrapper: { before, after },
    mask,
    continues,
    excluded,
  }: Pick<MaskedEncoder, 'wrapper' | 'mask' | 'continues' | 'excluded'>,
  key: RngKey,
  documents?: ArrayLike<number>,
): SpanBatch {
  const phrases = new SharedPhrases(pieces, { excluded });
  const isEligible = documents && sharedInDocument(pieces, documents, excluded);
  const spans = drawSpans(phrases, continues, key, { ...(isEligible && { isEligible }) });
  const wrapped = (ids: ArrayLike<number>) => [...before, ...Array.from(ids), ...after];
  const ofPiece = pieces.map((tokens, s) =>
    maskSpans(
      tokens,
      spans.filter(({ sequence }) => sequence === s),
      mask,
    ),
  );
  const masked = padSequences(ofPiece.map(({ ids }) => wrapped(ids)));
  const keys = padSequences(pieces.map(wrapped));
  // A program has at least one span. One without right tokens is skipped.
  const S = Math.max(1, spans.length);
  const K = keys.batch * keys.tokens;
  const first = new BigInt64Array(S);
  const masks = ofPiece.flatMap(({ places }, s) =>
    places.map((place) => BigInt(s * masked.tokens + before.length + place)),
  );
  first.set(masks);
  const [allowed, startsHere, endsHere] = [0, 1, 2].map(() => new Uint8Array(S * K));
  const keyAt = (sequence: number, token: number) => sequence * keys.tokens + before.length + token;
  for (const [v, span] of spans.entries()) {
    for (const [s, { length }] of pieces.entries())
      if (s !== span.sequence) allowed!.fill(1, v * K + keyAt(s, 0), v * K + keyAt(s, length));
    for (const { sequence, start, length } of phrases.occurrences(span)) {
      startsHere![v * K + keyAt(sequence, start)] = 1;
      endsHere![v * K + keyAt(sequence, start + length - 1)] = 1;
    }
  }
  const bools = (data: Uint8Array) => hostTensor('bool', [S, K], data as Uint8Array<ArrayBuffer>);
  return {
    ...{ masked, keys, spans: spans.length },
    feeds: {
      'spans/first': hostTensor('i64', [S], first),
      'spans/second': hostTensor(
        'i64',
        [S],
        first.map((place, v) => (v < spans.length ? place + 1n : place)),
      ),
      'spans/allowed': bools(allowed!),
      'spans/startsHere': bools(startsHere!),
      'spans/endsHere': bools(endsHere!),
    },
  };
}

/** Returns a function that tells whether another piece of the same document has the phrase of a span. */
function sharedInDocument(
  pieces: readonly Int32Array[],
  documents: ArrayLike<number>,
  excluded: ReadonlySet<number>,
): (span: SharedSpan) => boolean {
  const groups = new Map<number, Int32Array[]>();
  const places = pieces.map((piece, sequence) => {
    const group = groups.get(documents[sequence]!) ?? [];
    groups.set(documents[sequence]!, group);
    return group.push(piece) - 1;
  });
  const phrases = new Map([...groups].map(([id, own]) => [id, new SharedPhrases(own, { excluded })]));
  return ({ sequence, start, length }) =>
    phrases.get(documents[sequence]!)!.phrase({ sequence: places[sequence]!, start, length }) >= 0;
}

/** Loss of a batch in a graph, with the inputs that it reads. */
export interface SpanLoss extends PhraseLoss {
  readonly targets: PhraseTargets;
}

/**
 * Builds the loss of a `SpanBatch`: the masked and the unmasked pieces go through the encoder together.
 *
 * @param declared  parameters of the encoder
 */
export function spanLoss(
  graph: Graph,
  { encoder, prefix }: Pick<MaskedEncoder, 'encoder' | 'prefix'>,
  declared: DeclaredParameters,
  { dropoutRatio = 0, ...options }: { readonly dropoutRatio?: number } & PhraseLossOptions = {},
): SpanLoss {
  const inputs = [MASKED, KEYS].map((name) => tokenInputs(declared, name, { dropout: dropoutRatio > 0 }));
  const vectors = encoder.tokenVectors((name) => declared.get(`${prefix}${name}`), inputs, { dropoutRatio });
  const [masked, keys] = vectors.map((x) =>
    reshape(x, [multiplyDims(x.shape[0]!, x.shape[1]!), x.shape[2]!]),
  ) as [Tensor, Tensor];
  const statesAt = (name: string) => gather(masked, graph.input(`spans/${name}`, 'i64', ['spans']));
  const marks = (name: string) => graph.input(`spans/${name}`, 'bool', ['spans', keys.shape[0]!]);
  const targets = {
    allowed: marks('allowed'),
    startsHere: marks('startsHere'),
    endsHere: marks('endsHere'),
  };
  const states = { starts: statesAt('first'), ends: statesAt('second'), keys };
  return { ...phraseLoss(states, targets, options), targets };
}
