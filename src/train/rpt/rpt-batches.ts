import type { ChunkGrades } from '../../rlm/chunk-grades.ts';
import type { RptConfig } from '../../rlm/rpt-config.ts';
import { allowedNeighbours, givenNeighbours, type RptLayout, rptLayout } from '../../rlm/rpt-feeds.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { rngKey, uniform } from '../../util/rng.ts';
import type { BatchMaker } from '../language-model/window-batches.ts';
import type { LongTexts } from './long-texts.ts';
import type { RptSchedules } from './schedules.ts';

/** Batch of long sequences. */
export interface RptBatch {
  /** Feeds of the training program. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** Tokens that are read, context included. */
  readonly tokens: number;
  /** Tokens that are predicted. */
  readonly predictions: number;
}

/** Grades of the candidates of each chunk of a sequence, by its number; undefined for chunks without candidates. */
export type SequenceGrades = readonly (ChunkGrades | undefined)[];

/** Neighbours of each chunk of a sequence that are chosen without the model, best first. */
export type SequenceNeighbours = readonly Int32Array[];

/** What is known of the chunks of each sequence: the grades from which the retriever learns, or the neighbours themselves. */
export type SequenceLabels =
  | { readonly grades: readonly SequenceGrades[] }
  | { readonly neighbours: readonly SequenceNeighbours[] };

/** Settings of {@link RptBatches}. */
export interface RptBatchOptions {
  readonly config: RptConfig;
  readonly schedules: RptSchedules;
  readonly seed: number;
}

/**
 * Makes the batches of a run from the windows of long sequences. Which chunks read their best neighbours by grade, in place of the retriever's,
 * is drawn by the seed and the number of the batch.
 */
export class RptBatches implements BatchMaker<RptBatch> {
  private readonly texts: LongTexts;
  private readonly labels: SequenceLabels;
  private readonly options: RptBatchOptions;

  constructor(texts: LongTexts, labels: SequenceLabels, options: RptBatchOptions) {
    this.texts = texts;
    this.labels = labels;
    this.options = options;
  }

  batch(numbers: ArrayLike<number>, draw: number): RptBatch {
    const { config } = this.options;
    const picked = this.texts.pick(numbers);
    const layout = rptLayout(picked, config);
    const [windows, length] = layout.feeds['windows/ids']!.dims as [number, number];
    const scored = new Float32Array(windows * length);
    for (const [row, { from, ids }] of picked.flatMap((each) => each.windows).entries())
      scored.fill(1, row * length + from, row * length + ids.length);
    return {
      feeds: {
        ...layout.feeds,
        'windows/scored': hostTensor('f32', [windows, length], scored),
        ...this.neighbourFeeds(
          layout,
          picked.map(({ sequence }) => sequence),
          draw,
        ),
      },
      tokens: sumOf(layout.feeds['windows/mask']!.data as Float32Array),
      predictions: sumOf(scored),
    };
  }

  /** Feeds of the neighbours that are given, and of what the retriever learns from. */
  private neighbourFeeds(
    layout: RptLayout,
    sequences: readonly number[],
    draw: number,
  ): Record<string, HostTensor> {
    const { labels } = this;
    const { neighbours: K } = this.options.config;
    const inColumns = (text: number, list: Int32Array | undefined) =>
      (list ?? NONE).map((chunk) => layout.offsets[text]! + chunk);
    if ('neighbours' in labels) {
      const lists = layout.chunks.map(({ text, chunk }) =>
        inColumns(text, labels.neighbours[sequences[text]!]![chunk]),
      );
      return givenNeighbours(lists, layout, K);
    }
    const graded = layout.chunks.map(({ text, chunk }) => {
      const found = labels.grades[sequences[text]!]![chunk];
      return { columns: inColumns(text, found?.chunks), grades: found?.grades ?? NO_GRADES };
    });
    return {
      ...givenNeighbours(
        graded.map(({ columns }) => columns),
        layout,
        K,
      ),
      'chunks/allowed': allowedNeighbours(layout),
      'given/isRead': this.readsGiven(graded, layout, draw),
      ...gradeFeeds(graded, layout),
      'rank/weight': scalar(this.options.schedules.rankWeight(draw)),
      'rank/margin': scalar(this.options.schedules.rankMargin(draw)),
    };
  }

  /** Draws which chunks read given neighbours, f32[C, 1]. Those without grades have none to be given. */
  private readsGiven(
    graded: readonly { readonly columns: Int32Array }[],
    { rows }: RptLayout,
    draw: number,
  ): HostTensor {
    const { schedules, seed } = this.options;
    const share = schedules.goldShare(draw);
    const drawn = new Float32Array(rows);
    uniform(rngKey(seed, draw, 'rpt/sampling'), drawn);
    const reads = drawn.map((each, i) => Number(each < share && (graded[i]?.columns.length ?? 0) > 0));
    return hostTensor('f32', [rows, 1], reads);
  }
}

/** Makes the inputs of grades: `rank/grades` f32[C, N], and the columns of the positives of each chunk. */
function gradeFeeds(
  graded: readonly { readonly columns: Int32Array; readonly grades: Float32Array }[],
  { rows, columns: N }: RptLayout,
): Record<string, HostTensor> {
  const counts = graded.map(({ grades }) => grades.filter((grade) => grade > 0).length);
  const P = Math.max(1, ...counts);
  const grades = new Float32Array(rows * N);
  const positives = new BigInt64Array(rows * P);
  const isPositive = new Float32Array(rows * P);
  for (const [i, each] of graded.entries()) {
    // Grades descend, so that positives come first.
    for (let k = 0; k < counts[i]!; k++) {
      grades[i * N + each.columns[k]!] = each.grades[k]!;
      positives[i * P + k] = BigInt(each.columns[k]!);
      isPositive[i * P + k] = 1;
    }
  }
  return {
    'rank/grades': hostTensor('f32', [rows, N], grades),
    'rank/positives': hostTensor('i64', [rows, P], positives),
    'rank/isPositive': hostTensor('f32', [rows, P], isPositive),
  };
}

const NONE = new Int32Array(0);
const NO_GRADES = new Float32Array(0);
const scalar = (value: number) => hostTensor('f32', [1], Float32Array.of(value));
const sumOf = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0);
