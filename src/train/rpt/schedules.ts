import type { RPT_SAMPLINGS } from './options.ts';

/** Settings of what changes in the course of a run. */
export interface RptScheduleSettings {
  readonly rankWeight: number;
  readonly rankWarmup: number;
  readonly rankMargin: number;
  readonly sampling: (typeof RPT_SAMPLINGS)[number];
}

/** Share of a run at the end of which only the retriever's neighbours are read. */
const SAMPLED_SHARE = 0.9;

/** Quantities that change in the course of a run of `totalBatches` batches, by the number of a batch from 0. */
export class RptSchedules {
  private readonly settings: RptScheduleSettings;
  private readonly totalBatches: number;

  constructor(settings: RptScheduleSettings, totalBatches: number) {
    this.settings = settings;
    this.totalBatches = totalBatches;
  }

  /** Weight α of the ranking loss: it rises linearly to `rankWeight` over the first `rankWarmup` of the run. */
  rankWeight(batch: number): number {
    const { rankWeight, rankWarmup } = this.settings;
    const warm = rankWarmup * this.totalBatches;
    return rankWeight * (batch >= warm ? 1 : batch / warm);
  }

  /** Margin τ of the ranking loss: it rises linearly from 1 to `rankMargin` over the run. */
  rankMargin(batch: number): number {
    const { rankMargin } = this.settings;
    return 1 + (rankMargin - 1) * Math.min(1, batch / Math.max(1, this.totalBatches - 1));
  }

  /** Probability that a chunk reads its best neighbours by grade: it falls from 1 to 0 as a cosine over the first 90 % of the run. */
  goldShare(batch: number): number {
    const { sampling } = this.settings;
    if (sampling !== 'scheduled') return Number(sampling === 'gold');
    const share = Math.min(1, batch / (SAMPLED_SHARE * this.totalBatches));
    return (1 + Math.cos(Math.PI * share)) / 2;
  }
}
