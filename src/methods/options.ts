import { BM25_OPTIONS } from '../text/bm25-options.ts';
import type { GivenOptions, OptionTable } from '../util/option-table.ts';
import { ATLAS_OPTIONS } from './atlas.ts';
import { LOSS_OPTIONS } from './contract/loss-names.ts';
import { NEGATIVE_OPTIONS } from './contract/negative-options.ts';
import { CROP_OPTIONS } from './crop.ts';
import { TEACHER_OPTIONS } from './distill.ts';
import { JOINT_READER_OPTIONS, MARGINAL_OPTIONS } from './joint/joint-options.ts';
import { MINER_OPTIONS } from './mined/mining-options.ts';
import { MOMENTUM_OPTIONS } from './momentum-queue.ts';
import { NULL_PASSAGE_OPTIONS } from './realm.ts';
import { BATCH_LOSS_CHOICES } from './step/batch-loss.ts';
import { MATRYOSHKA_OPTIONS } from './step/score-loss.ts';
import { READER_OPTIONS } from './table/reader-options.ts';
import {
  CACHE_OPTIONS,
  CORRECTOR_OPTIONS,
  RERANK_OPTIONS,
  SEARCH_OPTIONS,
  SNAPSHOT_OPTIONS,
} from './table/table-options.ts';

/** Options of all methods, in the order of the documentation. Each method sets its own defaults: see `Method.options`. */
export const METHOD_OPTIONS = {
  ...LOSS_OPTIONS,
  ...BATCH_LOSS_CHOICES,
  ...TEACHER_OPTIONS,
  ...MATRYOSHKA_OPTIONS,
  ...NEGATIVE_OPTIONS,
  ...SEARCH_OPTIONS,
  ...CACHE_OPTIONS,
  ...MOMENTUM_OPTIONS,
  ...MINER_OPTIONS,
  ...BM25_OPTIONS,
  ...SNAPSHOT_OPTIONS,
  ...CROP_OPTIONS,
  ...CORRECTOR_OPTIONS,
  ...READER_OPTIONS,
  ...RERANK_OPTIONS,
  ...JOINT_READER_OPTIONS,
  ...MARGINAL_OPTIONS,
  ...NULL_PASSAGE_OPTIONS,
  ...ATLAS_OPTIONS,
} as const satisfies OptionTable;

/** Options of training methods, as a caller gives them. Each method takes some of them. */
export interface MethodOptions
  extends GivenOptions<typeof LOSS_OPTIONS>,
    GivenOptions<typeof BATCH_LOSS_CHOICES>,
    GivenOptions<typeof TEACHER_OPTIONS>,
    GivenOptions<typeof MATRYOSHKA_OPTIONS>,
    GivenOptions<typeof NEGATIVE_OPTIONS>,
    GivenOptions<typeof SEARCH_OPTIONS>,
    GivenOptions<typeof CACHE_OPTIONS>,
    GivenOptions<typeof MOMENTUM_OPTIONS>,
    GivenOptions<typeof MINER_OPTIONS>,
    GivenOptions<typeof BM25_OPTIONS>,
    GivenOptions<typeof SNAPSHOT_OPTIONS>,
    GivenOptions<typeof CROP_OPTIONS>,
    GivenOptions<typeof CORRECTOR_OPTIONS>,
    GivenOptions<typeof READER_OPTIONS>,
    GivenOptions<typeof RERANK_OPTIONS>,
    GivenOptions<typeof JOINT_READER_OPTIONS>,
    GivenOptions<typeof MARGINAL_OPTIONS>,
    GivenOptions<typeof NULL_PASSAGE_OPTIONS>,
    GivenOptions<typeof ATLAS_OPTIONS> {}
