import type { RetrievalData } from '../data/retrieval-data.ts';
import type { Run, ScoredDocument } from '../eval/ranking.ts';
import type { CrossEncoder, RankedDocument } from '../models/cross-encoder/cross-encoder.ts';
import { PairTokens } from '../models/cross-encoder/pair-tokens.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { OptionTable } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';

/** Option for the number of documents of a query that are reranked. */
export const RERANK_DEPTH = {
  type: 'integer',
  min: 1,
  max: 10_000,
  default: 50,
  help: 'documents of each query that the cross-encoder reads; those after them keep their order behind them',
  group: 'Reranking',
} as const;

/** Options of a reranked search. */
export const RERANK_OPTIONS = {
  /** Cross-encoder that reranks what was found: a folder, a run, or a name on the hub. Default none. */
  rerank: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    help: 'cross-encoder that reranks what was found: a folder, a run, or a name on the Hugging Face hub',
    group: 'Reranking',
    aliases: ['reranker', 'cross_encoder', 'crossEncoder'],
  },
  /** Documents of each query that are reranked. Default 50. */
  rerankDepth: RERANK_DEPTH,
} as const satisfies OptionTable;

/** Settings of {@link rerankRun}. */
export interface RerankOptions extends ComputeOptions {
  /** Documents of each query to rerank. Default 50. */
  readonly depth?: number | undefined;
  /** Tokens of the texts, if they are at hand, as during training. */
  readonly tokens?: PairTokens | undefined;
  /** Called with progress in pairs, in stage `rerank`. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Reranks the best documents of each query of a run by a cross-encoder. Documents beyond the depth stay behind them in their order.
 *
 * @param data  data whose queries and documents the ids of the run name
 * @param run  documents of each query, best first
 * @returns a run whose scores are logits; those of documents beyond the depth are below all logits of their query
 */
export async function rerankRun(
  crossEncoder: CrossEncoder,
  data: Pick<RetrievalData, 'queries' | 'corpus'>,
  run: Run,
  {
    depth = RERANK_DEPTH.default,
    tokens = pairTokens(crossEncoder, data),
    onProgress,
    ...compute
  }: RerankOptions = {},
): Promise<Run> {
  const lists = [...run].map(([query, documents]) => ({ query, documents }));
  const pairs = lists.flatMap(({ query, documents }) => {
    const row = data.queries.row(query)!;
    return documents.slice(0, depth).map(({ docId }) => [row, data.corpus.row(docId)!] as const);
  });
  const logits = await crossEncoder.scoreTokens(pairs.length, (i) => tokens.pair(...pairs[i]!), {
    ...compute,
    onProgress: (progress) => onProgress?.({ ...progress, stage: 'rerank' }),
  });
  let start = 0;
  return new Map(
    lists.map(({ query, documents }) => {
      const end = start + Math.min(depth, documents.length);
      const scores = logits.subarray(start, end);
      start = end;
      return [query, reranked(documents, scores)];
    }),
  );
}

/**
 * Reranks texts that were found for a query, best first. Those beyond the depth follow in their order, with scores that fall by 1 from
 * below the lowest of the others.
 *
 * @param options.depth  texts that the cross-encoder reads. Default 50
 * @param options.topK  texts to return. Default all
 * @returns  places of the texts in the list, with the scores of the cross-encoder
 */
export async function rerankTexts(
  crossEncoder: CrossEncoder,
  query: string,
  texts: readonly string[],
  {
    depth = RERANK_DEPTH.default,
    topK = texts.length,
    ...options
  }: Omit<RerankOptions, 'tokens'> & { readonly topK?: number | undefined } = {},
): Promise<RankedDocument[]> {
  const first = await crossEncoder.rank(query, texts.slice(0, depth), options);
  const rest = texts.slice(depth).map((_, i) => ({ document: depth + i, score: scoreBehind(first, i) }));
  return [...first, ...rest].slice(0, topK);
}

/** Score of the i-th document that was not reranked: a whole number below all scores of those that were. */
const scoreBehind = (reranked: readonly { readonly score: number }[], i: number): number =>
  Math.floor(reranked.reduce((least, { score }) => Math.min(least, score), 0)) - 1 - i;

/** Makes the tokens of the pairs of a data set. */
export const pairTokens = (
  crossEncoder: CrossEncoder,
  { queries, corpus }: Pick<RetrievalData, 'queries' | 'corpus'>,
): PairTokens =>
  new PairTokens(crossEncoder, { query: (row) => queries.text(row), document: (row) => corpus.text(row) });

/**
 * Orders documents by new scores of the first of them. The others follow in their order, with scores that fall by 1.
 *
 * @param scores  new scores of the first documents
 */
export function reranked(documents: readonly ScoredDocument[], scores: ArrayLike<number>): ScoredDocument[] {
  const first = Array.from(scores, (score, i) => ({ docId: documents[i]!.docId, score }));
  const rest = documents.slice(first.length).map(({ docId }, i) => ({ docId, score: scoreBehind(first, i) }));
  return [...first.sort((a, b) => b.score - a.score), ...rest];
}
