import { type FusedRows, fuseRanks, fuseScores, type RankedRows } from '../search/fusion.ts';
import type { StoredPassage } from '../store/passage-table.ts';
import { STORE_SEARCH_OPTIONS } from '../store/store-options.ts';
import {
  candidatesFor,
  checkMinScore,
  type StoreHit,
  type StoreSearchOptions,
} from '../store/store-searcher.ts';
import { RuntimeError, UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';
import { askShard } from './ask.ts';
import type { Cluster } from './cluster.ts';
import { CLUSTER_OPTIONS } from './cluster-options.ts';
import { readShards } from './shard-record.ts';
import {
  MOST_PASSAGES,
  MOST_TEXTS,
  PASSAGES,
  RANK,
  type RankAnswer,
  type RankRequest,
  type ShardMode,
} from './shard-search.ts';
import type { ClusterStreams } from './streams.ts';
import { parseMessage } from './task.ts';
import { reasonOf } from './waiting.ts';

/** Options of commands that search the shards of a cluster. */
export const CLUSTER_SEARCH_OPTIONS = {
  ...CLUSTER_OPTIONS,
  cluster: {
    ...CLUSTER_OPTIONS.cluster,
    help: 'cluster whose shards are searched, such as nats://host:4222/NAME; undrift cluster owner serves a store as a shard',
  },
  /** Shards to search. Default: all whose owners have ever served searches. */
  shards: {
    type: 'list',
    help: 'shards of the cluster to search (default: all that an owner has served)',
    group: 'Cluster',
  },
  /** Seconds to wait for shards. Default 5. */
  deadline: {
    type: 'number',
    above: 0,
    max: 3600,
    default: 5,
    value: 'seconds',
    help: 'time to wait for the shards of a cluster; those that have not answered by then are named, and the answer is partial',
    group: 'Cluster',
  },
} as const satisfies OptionTable;

/** Passage that was found in a shard. Its `pid` is a number in this shard. */
export interface ClusterHit extends StoreHit {
  /** Name of the shard. */
  readonly shard: string;
}

/** Shard whose passages an answer lacks. */
export interface MissingShard {
  readonly shard: string;
  /** Why it has not answered. */
  readonly reason: string;
}

/** What was found in the shards of a cluster. */
export interface ClusterFound {
  /** Hits of each text, best first. */
  readonly hits: readonly (readonly ClusterHit[])[];
  /** Whether shards are missing. */
  readonly partial: boolean;
  /** Shards that have not answered. */
  readonly missing: readonly MissingShard[];
  /** Number of shards asked. */
  readonly shards: number;
}

/** Settings of a {@link ClusterSearcher}. */
export interface ClusterSearcherOptions {
  /** Shards to search. Default: all whose owners have ever served searches. */
  readonly shards?: readonly string[] | undefined;
  /** Time to wait for shards, in milliseconds. Default 5,000. */
  readonly deadlineMs?: number | undefined;
}

/** Age from which on the list of shards is read again. */
const LIST_MS = 2000;
/** Share of the time in which shards rank; the rest is for reading what was found. */
const RANK_SHARE = 0.75;
/** Numbers of passages are below this one. */
const SHARD_FACTOR = 2 ** 32;

/**
 * Searches all shards of a cluster at once, and merges what they find by score. Shards that have not answered by the deadline are named.
 *
 * Dense scores of shards are comparable, because they have one model. Words are weighted by their frequency in each shard, which hardly
 * differs where passages fall to shards by a hash of their ids (`undrift index --part`). A hybrid search merges both kinds of scores over the
 * shards, and fuses them then, as a search in one store does.
 */
export class ClusterSearcher {
  private readonly cluster: Cluster;
  private readonly streams: ClusterStreams;
  private readonly options: ClusterSearcherOptions;
  private listed: { readonly names: readonly string[]; readonly ms: number } | undefined;

  constructor(cluster: Cluster, streams: ClusterStreams, options: ClusterSearcherOptions = {}) {
    this.cluster = cluster;
    this.streams = streams;
    this.options = options;
  }

  /**
   * Lists the shards to search.
   *
   * @throws RuntimeError if the server does not tell them
   */
  async shards(): Promise<readonly string[]> {
    if (this.options.shards) return this.options.shards;
    if (!this.listed || performance.now() - this.listed.ms > LIST_MS) {
      const records = await readShards(this.streams).catch((cause) => {
        const { shown } = this.cluster.address;
        throw new RuntimeError(`${shown} does not tell its shards: ${reasonOf(cause)}`, {
          help: 'check that nats-server runs there; the search works again when it does',
          cause,
        });
      });
      const names = records.filter(({ answers }) => answers.includes(RANK)).map(({ name }) => name);
      this.listed = { names, ms: performance.now() };
    }
    return this.listed.names;
  }

  /**
   * Finds passages for several texts.
   *
   * @throws UsageError for an empty text, for more texts or passages than a request may have, for a cluster without shards to search, and
   *   for shards whose vectors are of different models
   * @throws RuntimeError if the server does not tell its shards
   */
  async search(
    texts: readonly string[],
    options: Omit<StoreSearchOptions, 'rerank'> = {},
  ): Promise<ClusterFound> {
    if (texts.some((text) => text.trim() === '')) throw new UsageError('the text to search for is empty');
    const { mode = 'hybrid', topK = 10, minScore, filter = [], approximate = false } = options;
    checkMinScore(mode, minScore);
    const candidates = options.candidates ?? Math.min(MOST_PASSAGES, candidatesFor(topK));
    const depth = mode === 'hybrid' ? candidates : topK;
    checkSize(texts.length, Math.max(topK, depth));
    const { deadlineMs = 5000 } = this.options;
    const beganMs = performance.now();
    const endMs = beganMs + deadlineMs;
    const names = await this.shards();
    if (names.length === 0) {
      throw new UsageError('the cluster has no shard that can be searched', {
        help: 'serve a store as one: undrift cluster owner --nats ADDRESS --store STORE',
      });
    }
    const request: RankRequest = {
      texts,
      modes: mode === 'hybrid' ? ['dense', 'bm25'] : [mode],
      k: depth,
      filter: [...filter],
      probes: approximate === false ? null : probesOf(approximate),
      minScore: minScore ?? null,
    };
    const missing: MissingShard[] = [];
    const answers = new Map(
      await this.askAll<RankAnswer>(
        names.map((shard) => ({ shard, kind: RANK, body: request })),
        beganMs + RANK_SHARE * deadlineMs,
        missing,
      ),
    );
    if (mode !== 'bm25') checkSpaces(answers);
    const rankings = texts.map((_, text) => rankingOf(text, answers, { ...options, names, depth, topK }));
    const hits = await this.read(rankings, { names, endMs, missing });
    return { hits, partial: missing.length > 0, missing, shards: names.length };
  }

  /** Reads the passages of rankings from their shards. */
  private async read(
    rankings: readonly GlobalRanking[],
    { names, endMs, missing }: { names: readonly string[]; endMs: number; missing: MissingShard[] },
  ): Promise<ClusterHit[][]> {
    const wanted = new Map<string, Set<number>>();
    for (const { rows } of rankings) {
      for (const row of rows) {
        const shard = names[Math.floor(row / SHARD_FACTOR)]!;
        const own = wanted.get(shard) ?? new Set();
        wanted.set(shard, own.add(row % SHARD_FACTOR));
      }
    }
    const answers = await this.askAll<{ readonly passages: readonly StoredPassage[] }>(
      [...wanted].flatMap(([shard, rows]) =>
        parts([...rows]).map((some) => ({ shard, kind: PASSAGES, body: { rows: some } })),
      ),
      endMs,
      missing,
    );
    const passages = new Map<number, { readonly shard: string; readonly passage: StoredPassage }>();
    for (const [shard, answer] of answers) {
      const first = names.indexOf(shard) * SHARD_FACTOR;
      for (const passage of answer.passages) passages.set(first + passage.pid, { shard, passage });
    }
    return rankings.map(({ rows, scores, parts }) => {
      const found = rows.flatMap((row, i) => {
        const known = passages.get(row);
        return known ? { ...known, row, score: scores[i]! } : [];
      });
      return found.map(({ shard, passage, row, score }, i) => ({
        ...{ ...passage, shard, rank: i + 1, score },
        ...(parts && { parts: parts(row) }),
      }));
    });
  }

  /** Asks shards at once, and lists those that have not answered by the deadline. */
  private async askAll<A>(
    requests: readonly { readonly shard: string; readonly kind: string; readonly body: object }[],
    endMs: number,
    missing: MissingShard[],
  ): Promise<(readonly [shard: string, answer: A])[]> {
    const timeoutMs = Math.max(1, Math.round(endMs - performance.now()));
    const answers = await Promise.all(
      requests.map(async ({ shard, kind, body }) => {
        try {
          const bytes = Buffer.from(JSON.stringify(body));
          const answer = await askShard(this.cluster, shard, kind, { body: bytes, timeoutMs });
          return [[shard, parseMessage(answer) as unknown as A] as const];
        } catch (error) {
          if (!missing.some((known) => known.shard === shard))
            missing.push({ shard, reason: reasonOf(error) });
          return [];
        }
      }),
    );
    return answers.flat();
  }
}

/** @throws UsageError for more texts, or more passages of a ranking, than a request may have */
function checkSize(texts: number, depth: number): void {
  if (texts > MOST_TEXTS)
    throw new UsageError(
      `a search in a cluster takes up to ${count(MOST_TEXTS)} texts, found ${count(texts)}`,
    );
  if (depth > MOST_PASSAGES) {
    throw new UsageError(
      `a search in a cluster ranks up to ${count(MOST_PASSAGES)} passages, found ${count(depth)}`,
      { help: `give a smaller ${option('topK')}` },
    );
  }
}

const probesOf = (approximate: Exclude<StoreSearchOptions['approximate'], false | undefined>): number =>
  (approximate === true ? undefined : approximate.probes) ?? STORE_SEARCH_OPTIONS.probes.default;

/** Divides numbers of passages into requests. */
const parts = (rows: readonly number[]): number[][] =>
  Array.from({ length: Math.ceil(rows.length / MOST_PASSAGES) }, (_, part) =>
    rows.slice(part * MOST_PASSAGES, (part + 1) * MOST_PASSAGES),
  );

/** Ranking over all shards. Rows are numbers of passages, plus 2³² times the place of the shard. */
interface GlobalRanking extends FusedRows {
  readonly parts?: (row: number) => StoreHit['parts'] & {};
}

function rankingOf(
  text: number,
  answers: ReadonlyMap<string, RankAnswer>,
  {
    mode = 'hybrid',
    denseWeight,
    names,
    depth,
    topK,
  }: Pick<StoreSearchOptions, 'mode' | 'denseWeight'> & {
    readonly names: readonly string[];
    readonly depth: number;
    readonly topK: number;
  },
): GlobalRanking {
  const merged = (by: ShardMode) => mergeShards(text, by, answers, { names, depth });
  if (mode !== 'hybrid') {
    const { rows, scores } = merged(mode);
    return { rows: rows.slice(0, topK), scores: scores.slice(0, topK) };
  }
  const [dense, bm25] = [merged('dense'), merged('bm25')];
  const fused =
    denseWeight === undefined
      ? fuseRanks([dense, bm25])
      : fuseScores([dense, bm25], [denseWeight, 1 - denseWeight]);
  const [byVector, byTerms] = [dense, bm25].map(
    ({ rows, scores }) => new Map(rows.map((row, i) => [row, scores[i]!])),
  ) as [Map<number, number>, Map<number, number>];
  return {
    rows: fused.rows.slice(0, topK),
    scores: fused.scores.slice(0, topK),
    parts: (row) => ({
      ...(byVector.has(row) && { dense: byVector.get(row)! }),
      ...(byTerms.has(row) && { bm25: byTerms.get(row)! }),
    }),
  };
}

/** Merges the rankings of all shards by score; among equal scores, earlier shards and lower numbers come first. */
function mergeShards(
  text: number,
  mode: ShardMode,
  answers: ReadonlyMap<string, RankAnswer>,
  { names, depth }: { readonly names: readonly string[]; readonly depth: number },
): FusedRows {
  const found: { row: number; score: number }[] = [];
  for (const [shard, { rankings }] of answers) {
    const first = names.indexOf(shard) * SHARD_FACTOR;
    const { rows, scores }: RankedRows = rankings[mode]![text]!;
    for (let i = 0; i < rows.length; i++) found.push({ row: first + rows[i]!, score: scores[i]! });
  }
  const best = found.sort((a, b) => b.score - a.score || a.row - b.row).slice(0, depth);
  return { rows: best.map(({ row }) => row), scores: best.map(({ score }) => score) };
}

/** @throws UsageError if the vectors of shards are of different models, so that their scores cannot be compared */
function checkSpaces(answers: ReadonlyMap<string, RankAnswer>): void {
  const [first, ...others] = answers;
  const other = others.find(([, { space }]) => space !== first![1].space);
  if (!other) return;
  throw new UsageError(
    `the shards ${first![0]} and ${other[0]} have vectors of different models (${first![1].space} and ${other[1].space})`,
    { help: `migrate them to one, name shards of one model, or search with ${option('mode', 'bm25')}` },
  );
}
