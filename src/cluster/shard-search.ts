import { totalmem } from 'node:os';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { RankedRows } from '../search/fusion.ts';
import type { FieldCondition } from '../store/filter.ts';
import type { StoredPassage } from '../store/passage-table.ts';
import type { Store } from '../store/store.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import { UndriftError } from '../util/errors.ts';
import { isObject } from '../util/json-objects.ts';
import type { Answer } from './ask.ts';
import { parseMessage } from './task.ts';

/** Kinds of requests that the owner of a store answers for searches. */
export const RANK = 'rank';
export const PASSAGES = 'passages';

/** Way of ranking that one shard does by itself. */
export type ShardMode = 'dense' | 'bm25';

/** Request for the best passages of a shard. */
export interface RankRequest {
  readonly texts: readonly string[];
  readonly modes: readonly ShardMode[];
  /** Passages of each ranking. */
  readonly k: number;
  readonly filter: readonly FieldCondition[];
  /** Partitions that an approximate search looks into; null for an exact search. */
  readonly probes: number | null;
  readonly minScore: number | null;
}

/** Best passages of a shard. */
export interface RankAnswer {
  /** Space of the vectors; empty if the store has none. */
  readonly space: string;
  /** Rankings of each text by mode: numbers of passages, and scores. */
  readonly rankings: { readonly [mode in ShardMode]?: readonly RankedRows[] };
}

/** Share of the machine's memory for vectors of several stores, as one store has it. */
const MEMORY_SHARE = 0.4;
/** Most texts of one request. */
export const MOST_TEXTS = 1024;
/** Most passages of one ranking, and of one request for passages. */
export const MOST_PASSAGES = 10_000;

/** Searches a store for a cluster. Its `answers` are for the owner of the shard. */
export class ShardSearch {
  readonly answers: Readonly<Record<string, Answer>>;
  private readonly store: Store;
  private readonly searcher: StoreSearcher;

  /** @param options.shards  number of shards of this process, which share the memory for vectors. Default 1 */
  constructor(store: Store, { shards = 1, ...compute }: ComputeOptions & { readonly shards?: number } = {}) {
    this.store = store;
    const memoryBytes = shards === 1 ? undefined : (MEMORY_SHARE * totalmem()) / shards;
    this.searcher = new StoreSearcher(store, { ...compute, memoryBytes });
    this.answers = {
      [RANK]: async (body) => encode(await this.rank(rankRequest(parseMessage(body)))),
      [PASSAGES]: async (body) => encode({ passages: await this.passages(numbers(parseMessage(body).rows)) }),
    };
  }

  /** Loads model and vectors, so that the first search does not wait for them. */
  async warm(): Promise<void> {
    await this.searcher.warm();
  }

  /** Frees model and vectors. */
  async dispose(): Promise<void> {
    await this.searcher.dispose();
  }

  private async rank(request: RankRequest): Promise<RankAnswer> {
    const { texts, modes, k, filter, probes, minScore } = request;
    const rankings: { [mode in ShardMode]?: readonly RankedRows[] } = {};
    for (const mode of modes) {
      rankings[mode] = await this.searcher.rank(texts, {
        ...{ mode, topK: k, filter, minScore: minScore ?? undefined },
        approximate: probes !== null && mode === 'dense' ? { probes } : false,
      });
    }
    return { space: this.store.head.current ?? '', rankings };
  }

  private async passages(rows: readonly number[]): Promise<readonly StoredPassage[]> {
    return await (await this.store.snapshot()).passages.read(rows);
  }
}

const encode = (answer: object): Uint8Array => Buffer.from(JSON.stringify(answer));

/** Reads a request, which another machine has sent. */
function rankRequest(json: Readonly<Record<string, unknown>>): RankRequest {
  const { texts, modes, k, filter, probes, minScore } = json;
  const isWhole = (value: unknown, most: number) =>
    Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most;
  const isRight =
    Array.isArray(texts) &&
    texts.length <= MOST_TEXTS &&
    texts.every((text) => typeof text === 'string') &&
    Array.isArray(modes) &&
    modes.every((mode) => mode === 'dense' || mode === 'bm25') &&
    isWhole(k, MOST_PASSAGES) &&
    Array.isArray(filter) &&
    filter.every(isCondition) &&
    (probes === null || isWhole(probes, 1 << 20)) &&
    (minScore === null || Number.isFinite(minScore));
  if (!isRight) throw new UndriftError('a request to search is damaged, or of another version of undrift');
  return json as unknown as RankRequest;
}

const SIGNS: readonly unknown[] = [
  '=',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  'contains',
] satisfies FieldCondition['is'][];

const isCondition = (value: unknown): value is FieldCondition =>
  isObject(value) &&
  typeof value.field === 'string' &&
  SIGNS.includes(value.is) &&
  ['string', 'number', 'boolean'].includes(typeof value.value);

function numbers(value: unknown): number[] {
  const isRight =
    Array.isArray(value) &&
    value.length <= MOST_PASSAGES &&
    value.every((row) => Number.isSafeInteger(row) && (row as number) >= 0 && (row as number) < 2 ** 31);
  if (!isRight) throw new UndriftError('a request for passages is damaged');
  return value as number[];
}
