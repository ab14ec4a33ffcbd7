import type { GradedRowLists, RowLists, TrainingExamples } from './examples.ts';

/** All judgements of a split, of any grade, grouped by query in the order in which the queries first occur. */
export interface Judgements {
  /** Rows of the query corpus, one per list in `judged`. */
  readonly queryRows: Int32Array;
  /** Judged documents of each query, with their grades. */
  readonly judged: GradedRowLists;
}

/** Conflict: two grades for one pair of query and document. */
export interface Conflict {
  readonly queryRow: number;
  readonly docRow: number;
  /** Source lines of the two judgements. */
  readonly lines: readonly [number, number];
}

/** Two scores of a teacher for one pair of query and document. */
export interface ScoreConflict {
  readonly queryRow: number;
  readonly docRow: number;
  /** Positions of the two judgements, in the order in which they were added. */
  readonly added: readonly [number, number];
  readonly scores: readonly [number, number];
}

/**
 * Collects judgements (query, document, grade) in any order and groups them. Takes 20 bytes a judgement while
 * it grows.
 */
export class JudgementsBuilder {
  #size = 0;
  #queryRows = new Int32Array(1024);
  #docRows = new Int32Array(1024);
  #lines = new Int32Array(1024);
  #grades = new Float32Array(1024);
  #scores: Float32Array | undefined;

  /** Number of judgements added so far. */
  get size(): number {
    return this.#size;
  }

  /** Adds a judgement; `score` is that of a teacher. */
  add(queryRow: number, docRow: number, grade: number, { line = 0, score = Number.NaN } = {}): void {
    const i = this.#size++;
    if (i >= this.#queryRows.length) this.#grow();
    this.#queryRows[i] = queryRow;
    this.#docRows[i] = docRow;
    this.#grades[i] = grade;
    this.#lines[i] = line;
    if (!Number.isNaN(score)) {
      this.#scores ??= new Float32Array(this.#queryRows.length).fill(Number.NaN);
      this.#scores[i] = score;
    }
  }

  /**
   * Groups the judgements by query, in the order of the source. Repeated judgements are merged.
   *
   * @param onConflict  called for a repetition with another grade; if it returns, the higher grade counts
   * @param onScores  called for a repetition with another score; if it returns, the first score counts
   */
  finish(
    onConflict: (conflict: Conflict) => void = () => {},
    onScores: (conflict: ScoreConflict) => void = () => {},
  ): Judgements {
    let queries = 0;
    for (let i = 0; i < this.#size; i++) queries = Math.max(queries, this.#queryRows[i]! + 1);
    // An array, because a map holds 2²⁴ entries at most.
    const groupOf = new Int32Array(queries).fill(-1);
    const queryRows: number[] = [];
    const groups = new Int32Array(this.#size);
    const counts: number[] = [];
    for (let i = 0; i < this.#size; i++) {
      const queryRow = this.#queryRows[i]!;
      let group = groupOf[queryRow]!;
      if (group < 0) {
        group = counts.length;
        groupOf[queryRow] = group;
        queryRows.push(queryRow);
        counts.push(0);
      }
      groups[i] = group;
      counts[group]!++;
    }
    const starts = new Uint32Array(counts.length + 1);
    for (const [group, count] of counts.entries()) starts[group + 1] = starts[group]! + count;
    const order = new Uint32Array(this.#size);
    const next = starts.slice();
    for (let i = 0; i < this.#size; i++) order[next[groups[i]!]!++] = i;

    const offsets = new Uint32Array(counts.length + 1);
    const rows = new Int32Array(this.#size);
    const grades = new Float32Array(this.#size);
    const scores = this.#scores === undefined ? undefined : new Float32Array(this.#size);
    const lines = new Int32Array(this.#size);
    const scoredBy = new Uint32Array(scores === undefined ? 0 : this.#size);
    const seen = new Map<number, number>();
    let kept = 0;
    for (let group = 0; group < counts.length; group++) {
      seen.clear();
      for (let j = starts[group]!; j < starts[group + 1]!; j++) {
        const i = order[j]!;
        const docRow = this.#docRows[i]!;
        const grade = this.#grades[i]!;
        const before = seen.get(docRow);
        if (before !== undefined) {
          if (grades[before] !== grade) {
            onConflict({ queryRow: this.#queryRows[i]!, docRow, lines: [lines[before]!, this.#lines[i]!] });
            if (grade > grades[before]!) grades[before] = grade;
          }
          const score = this.#scores?.[i] ?? Number.NaN;
          if (scores === undefined || Number.isNaN(score)) continue;
          const known = scores[before]!;
          if (Number.isNaN(known)) {
            scores[before] = score;
            scoredBy[before] = i;
          } else if (known !== score) {
            const added = [scoredBy[before]!, i] as const;
            onScores({ queryRow: this.#queryRows[i]!, docRow, added, scores: [known, score] });
          }
          continue;
        }
        seen.set(docRow, kept);
        rows[kept] = docRow;
        grades[kept] = grade;
        lines[kept] = this.#lines[i]!;
        if (scores !== undefined) {
          scores[kept] = this.#scores![i]!;
          scoredBy[kept] = i;
        }
        kept++;
      }
      offsets[group + 1] = kept;
    }
    const judged = { offsets, rows: rows.slice(0, kept), grades: grades.slice(0, kept) };
    return {
      queryRows: Int32Array.from(queryRows),
      judged: scores === undefined ? judged : { ...judged, scores: scores.slice(0, kept) },
    };
  }

  #grow(): void {
    const capacity = 2 * this.#queryRows.length;
    const enlarge = <T extends Int32Array | Float32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#queryRows = enlarge(this.#queryRows, new Int32Array(capacity));
    this.#docRows = enlarge(this.#docRows, new Int32Array(capacity));
    this.#lines = enlarge(this.#lines, new Int32Array(capacity));
    this.#grades = enlarge(this.#grades, new Float32Array(capacity));
    if (this.#scores !== undefined) {
      this.#scores = enlarge(this.#scores, new Float32Array(capacity).fill(Number.NaN));
    }
  }
}

/** Joins judgements of different queries. */
export function joinJudgements(parts: readonly Judgements[]): Judgements {
  if (parts.length === 1) return parts[0]!;
  const all = <T>(list: (part: Judgements) => Iterable<T>): T[] => parts.flatMap((part) => [...list(part)]);
  const offsets = [0];
  for (const { judged } of parts) {
    const start = offsets.at(-1)!;
    for (const end of judged.offsets.subarray(1)) offsets.push(start + end);
  }
  const none = ({ judged }: Judgements) => new Float32Array(judged.rows.length).fill(Number.NaN);
  const judged = {
    offsets: Uint32Array.from(offsets),
    rows: Int32Array.from(all(({ judged }) => judged.rows)),
    grades: Float32Array.from(all(({ judged }) => judged.grades)),
  };
  const hasScores = parts.some(({ judged }) => judged.scores !== undefined);
  return {
    queryRows: Int32Array.from(all(({ queryRows }) => queryRows)),
    judged: hasScores
      ? { ...judged, scores: Float32Array.from(all((part) => part.judged.scores ?? none(part))) }
      : judged,
  };
}

/**
 * Splits judgements at grade 0: positives are above 0, negatives at or below. Queries without a positive are
 * left out.
 */
export function trainingExamples({ queryRows, judged }: Judgements): TrainingExamples {
  const withPositive: number[] = [];
  let anyNegative = false;
  for (let i = 0; i < queryRows.length; i++) {
    let positives = 0;
    for (let j = judged.offsets[i]!; j < judged.offsets[i + 1]!; j++) {
      if (judged.grades[j]! > 0) positives++;
      else anyNegative = true;
    }
    if (positives > 0) withPositive.push(i);
  }
  const positives = select(judged, withPositive, (grade) => grade > 0);
  const examples = { queryRows: Int32Array.from(withPositive, (i) => queryRows[i]!), positives };
  if (!anyNegative) return examples;
  const { grades: _, ...negatives } = select(judged, withPositive, (grade) => grade <= 0);
  return { ...examples, negatives: negatives satisfies RowLists };
}

function select(
  lists: GradedRowLists,
  groups: readonly number[],
  wanted: (grade: number) => boolean,
): GradedRowLists {
  const offsets = new Uint32Array(groups.length + 1);
  const picked: number[] = [];
  for (const [i, group] of groups.entries()) {
    for (let j = lists.offsets[group]!; j < lists.offsets[group + 1]!; j++) {
      if (wanted(lists.grades[j]!)) picked.push(j);
    }
    offsets[i + 1] = picked.length;
  }
  const rows = Int32Array.from(picked, (j) => lists.rows[j]!);
  const grades = Float32Array.from(picked, (j) => lists.grades[j]!);
  const { scores } = lists;
  return scores === undefined
    ? { offsets, rows, grades }
    : { offsets, rows, grades, scores: Float32Array.from(picked, (j) => scores[j]!) };
}
