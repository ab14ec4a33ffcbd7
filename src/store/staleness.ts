import { PassageSet } from './passage-set.ts';
import type { StoreSnapshot } from './store.ts';
import { bridgesTo } from './vector-source.ts';

/** Vectors of one version of an encoder. */
export interface VersionShare {
  /** Space of the vectors. */
  readonly space: string;
  /** Training steps of the encoder that made them. */
  readonly step: number;
  /** Number of passages that searches find by these vectors. */
  readonly passages: number;
  /** Share of all passages, in [0, 1]. */
  readonly share: number;
}

/** Quantiles of the ages of vectors. */
export interface AgeQuantiles {
  readonly median: number;
  readonly p90: number;
  readonly oldest: number;
}

/** Ages of the vectors that searches use. */
export interface Staleness {
  /** Passages by version of the encoder whose vector searches use, in the order in which these are preferred. */
  readonly versions: readonly VersionShare[];
  /** Passages without a vector of the current version: corrected and missing ones. */
  readonly stale: number;
  /** Passages that are found by a vector of another space, moved by a corrector. */
  readonly corrected: number;
  /** Passages that dense search does not find, because no vector of theirs can be moved into the current space. */
  readonly missing: number;
  /**
   * Ages in training steps: steps of the current encoder minus those of the encoder that made the vector. Null if there are no vectors,
   * or if an encoder in use has more steps than the current one, so that a difference means nothing.
   */
  readonly ageSteps: AgeQuantiles | null;
  /** Ages in milliseconds since the vectors were made. Null if there are none. */
  readonly ageMs: AgeQuantiles | null;
}

/** Facts of a snapshot that do not change with the time. */
interface Counted extends Omit<Staleness, 'ageMs'> {
  readonly madeAt: AgeQuantiles | null;
}

/** Facts by snapshot, because each status reads the stamps of all vectors. */
const counted = new WeakMap<StoreSnapshot, Promise<Counted>>();

/** Measures how old the vectors are that searches use. Null before the first space. */
export async function staleness(snapshot: StoreSnapshot): Promise<Staleness | null> {
  if (snapshot.head.current === null) return null;
  let facts = counted.get(snapshot);
  if (!facts) {
    facts = countStamps(snapshot, snapshot.head.current);
    counted.set(snapshot, facts);
  }
  const { madeAt, ...known } = await facts;
  const now = Date.now();
  const since = (time: number) => Math.max(0, now - time);
  return {
    ...known,
    ageMs: madeAt && {
      median: since(madeAt.median),
      p90: since(madeAt.p90),
      oldest: since(madeAt.oldest),
    },
  };
}

async function countStamps(snapshot: StoreSnapshot, current: string): Promise<Counted> {
  const { spaces, bridges, nextPassage } = snapshot.head;
  const total = await snapshot.passages.count();
  const nowSteps = spaces.find(({ id }) => id === current)!.steps;
  const seen = new PassageSet(nextPassage);
  const versions = new Map<string, { space: string; step: number; passages: number }>();
  const times = new Float64Array(total);
  for (const space of [current, ...bridgesTo(bridges, current).map(({ from }) => from)]) {
    for await (const { pids, steps, times: made } of snapshot.embeddings(space).stamps()) {
      for (const [row, pid] of pids.entries()) {
        if (seen.has(pid)) continue;
        times[seen.size] = made[row]!;
        seen.add(pid);
        const step = steps[row]!;
        const key = `${space} ${step}`;
        const version = versions.get(key) ?? { space, step, passages: 0 };
        version.passages += 1;
        versions.set(key, version);
      }
    }
  }
  const found = [...versions.values()];
  const sum = (chosen: (version: (typeof found)[number]) => boolean) =>
    found.filter(chosen).reduce((rows, { passages }) => rows + passages, 0);
  const stepAges = found.map(({ step, passages }) => ({ age: nowSteps - step, passages }));
  return {
    versions: found.map((version) => ({ ...version, share: version.passages / total })),
    stale: total - sum(({ space, step }) => space === current && step >= nowSteps),
    corrected: sum(({ space }) => space !== current),
    missing: total - seen.size,
    ageSteps: stepAges.some(({ age }) => age < 0) ? null : stepQuantiles(stepAges, seen.size),
    madeAt: timeQuantiles(times.subarray(0, seen.size)),
  };
}

/** Place of a quantile among n ascending values: the smallest value that at least this share of the values do not exceed. */
const place = (share: number, n: number): number => Math.max(0, Math.ceil(share * n) - 1);

function stepQuantiles(
  ages: readonly { readonly age: number; readonly passages: number }[],
  n: number,
): AgeQuantiles | null {
  if (n === 0) return null;
  const sorted = ages.toSorted((a, b) => a.age - b.age);
  const at = (index: number): number => {
    let rows = 0;
    for (const { age, passages } of sorted) {
      rows += passages;
      if (index < rows) return age;
    }
    return sorted.at(-1)!.age;
  };
  return { median: at(place(0.5, n)), p90: at(place(0.9, n)), oldest: sorted.at(-1)!.age };
}

function timeQuantiles(times: Float64Array): AgeQuantiles | null {
  const n = times.length;
  if (n === 0) return null;
  // The newest first, so that the ages ascend.
  times.sort().reverse();
  return { median: times[place(0.5, n)]!, p90: times[place(0.9, n)]!, oldest: times[n - 1]! };
}

/**
 * Lists the passages that have no vector of the current version of a space: those without a vector in it, and those whose vector is
 * of an earlier training step. Ascending by number.
 */
export async function stalePassages(snapshot: StoreSnapshot, space: string): Promise<number[]> {
  const { spaces, nextPassage } = snapshot.head;
  const steps = spaces.find(({ id }) => id === space)?.steps ?? 0;
  const fresh = new PassageSet(nextPassage);
  for await (const part of snapshot.embeddings(space).stamps()) {
    for (const [row, pid] of part.pids.entries()) if (part.steps[row]! >= steps) fresh.add(pid);
  }
  const stale: number[] = [];
  for await (const pids of snapshot.passages.pids())
    for (const pid of pids) if (!fresh.has(pid)) stale.push(pid);
  return stale.sort((a, b) => a - b);
}
