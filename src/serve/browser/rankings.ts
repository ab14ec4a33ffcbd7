/**
 * @file Rankings that the page offers for its two columns, and the comparison of two results.
 */

/** Way of ranking passages. */
export interface Ranking {
  readonly mode: 'hybrid' | 'dense' | 'bm25';
  /** Id of the embedding space; undefined for the current one. */
  readonly space?: string;
  /** Whether the server's reranker orders the first results. */
  readonly rerank?: true;
}

/** Ranking with its key in the address and its name. */
export interface RankingChoice extends Ranking {
  readonly key: string;
  readonly name: string;
}

/** The part of `GET /status` that rankings depend on. */
export interface RankingFacts {
  readonly spaces: readonly {
    readonly id: string;
    readonly model: string;
    readonly current: boolean;
    readonly rows: number;
  }[];
  /** Name of the server's reranker. */
  readonly reranker?: string | null | undefined;
}

const NAMES = { hybrid: 'Hybrid', dense: 'Dense', bm25: 'BM25' };

/** Lists the rankings that a store allows. One without vectors has BM25 alone. */
export function rankingChoices({ spaces, reranker }: RankingFacts): RankingChoice[] {
  const hasVectors = spaces.some(({ current }) => current);
  const choices: RankingChoice[] = (
    hasVectors ? (['hybrid', 'dense', 'bm25'] as const) : (['bm25'] as const)
  ).map((mode) => ({ key: mode, name: NAMES[mode], mode }));
  for (const { id, model, current, rows } of spaces) {
    if (current || rows === 0) continue;
    for (const mode of ['dense', 'hybrid'] as const) {
      choices.push({ key: `${mode}@${id}`, name: `${NAMES[mode]} by ${shortName(model)}`, mode, space: id });
    }
  }
  if (!reranker) return choices;
  return choices.flatMap((choice) => [
    choice,
    { ...choice, key: `${choice.key}+rerank`, name: `${choice.name}, reranked`, rerank: true },
  ]);
}

/** Shortens the path of a model to its last two parts. */
export const shortName = (model: string): string => model.split(/[\\/]/).filter(Boolean).slice(-2).join('/');

/** Comparison of one result with another list of results. */
export interface Change {
  /** Rank in the other list; undefined if it is not there. */
  readonly other: number | undefined;
  /** Ranks by which it stands higher here than there. */
  readonly higher: number;
}

/** Comparison of two lists of results of the same query. */
export interface Comparison {
  /** Passages in both lists. */
  readonly shared: number;
  /** Length of the longer list. */
  readonly size: number;
  /** Mean absolute difference of the ranks of shared passages; 0 if there are none. */
  readonly meanMove: number;
}

/** Compares two rankings, given as the ids of their results. */
export function compareRankings(first: readonly string[], second: readonly string[]): Comparison {
  const moves = changesIn(first, second).flatMap(({ other, higher }) =>
    other === undefined ? [] : Math.abs(higher),
  );
  return {
    shared: moves.length,
    size: Math.max(first.length, second.length),
    meanMove: moves.length === 0 ? 0 : moves.reduce((sum, move) => sum + move, 0) / moves.length,
  };
}

/** Compares each result of a list with another list. */
export function changesIn(own: readonly string[], other: readonly string[]): Change[] {
  const ranks = new Map(other.map((id, i) => [id, i + 1]));
  return own.map((id, i) => {
    const rank = ranks.get(id);
    return { other: rank, higher: rank === undefined ? 0 : rank - (i + 1) };
  });
}
