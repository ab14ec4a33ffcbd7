import { MARGINALS } from '../../losses/candidate-marginal.ts';
import type { OptionTable } from '../../util/option-table.ts';

/** Parts of a reader that are trained: all of it, adapters beside its matrices, or nothing. */
export const READER_TUNINGS = ['full', 'lora', 'frozen'] as const;

/** Options of a reader that is trained beside the retriever. */
export const JOINT_READER_OPTIONS = {
  /** Parts of the reader that are trained. */
  readerTuning: {
    type: 'choice',
    choices: READER_TUNINGS,
    default: 'full',
    help: 'what is trained of the reader: all of it (full), adapters beside its matrices (lora), or nothing (frozen)',
    group: 'Reader',
  },
  /** Peak learning rate of the reader. Default 5e-5; 5e-4 with LoRA. */
  readerLr: {
    type: 'number',
    above: 0,
    defaultHelp: '5e-5; 5e-4 with --reader-tuning lora',
    help: 'peak learning rate of the reader, on the schedule of the run',
    group: 'Reader',
  },
  /** Rank of the reader's adapters. Default 8. */
  readerLora: {
    type: 'integer',
    value: 'rank',
    min: 1,
    defaultHelp: '8',
    help: 'rank of the adapters of --reader-tuning lora',
    group: 'Reader',
  },
  /** Linear layers of the reader that get adapters, by the ends of their names. Default: queries and values of the attention. */
  readerLoraTargets: {
    type: 'list',
    value: 'names',
    defaultHelp: 'queries and values',
    help: 'layers of the reader that get adapters, by the ends of their names; all-linear for all',
    group: 'Reader',
  },
  /** Longest answer that an evaluation generates, in tokens; 0 for none. */
  readerAnswerTokens: {
    type: 'integer',
    value: 'n',
    min: 0,
    default: 16,
    help: 'longest answer that evaluations generate for the exact match, in tokens; 0 for none',
    group: 'Reader',
  },
} as const satisfies OptionTable;

/** Option of methods whose loss sums over candidates. */
export const MARGINAL_OPTIONS = {
  /** Sum over the candidates: for the whole answer, or for each of its tokens. */
  marginal: {
    type: 'choice',
    choices: MARGINALS,
    default: 'sequence',
    help: 'sum over the candidates for the whole answer (sequence) or for each of its tokens (token)',
    group: 'Reader',
  },
} as const satisfies OptionTable;
