import type { OptionTable } from '../../util/option-table.ts';

/** Which parts of a given model a run trains; see `TuningOptions`. */
export const TUNING_OPTIONS = {
  /** Rank of the LoRA adapters that are trained instead of the model's weights. Default: no adapters. */
  lora: {
    type: 'integer',
    min: 1,
    max: 4096,
    defaultHelp: 'no adapters',
    help: "rank of LoRA adapters, which are trained instead of the model's weights",
    group: 'Parts of a given model',
    aliases: ['loraRank', 'lora_r', 'peft'],
  },
  /** LoRA's α: adapters are scaled by α / rank. Default: twice the rank. */
  loraAlpha: {
    type: 'number',
    above: 0,
    defaultHelp: 'twice the rank',
    help: 'adapters are scaled by alpha / rank',
    group: 'Parts of a given model',
    aliases: ['lora_alpha'],
  },
  /** Linear layers that get adapters, by the ends of their names. Default: queries and values of the attention. */
  loraTargets: {
    type: 'list',
    value: 'names',
    defaultHelp: 'queries and values of the attention',
    help: 'linear layers that get adapters, by the ends of their names, or all-linear',
    group: 'Parts of a given model',
    aliases: ['target_modules'],
  },
  /**
   * Parts of a given model that are not trained: `embeddings`, `layers:0-3`, … (see `partMatcher`). `all` is for retrievers beside which
   * a reader is trained.
   */
  freeze: {
    type: 'list',
    value: 'parts',
    help: 'parts that are not trained: embeddings, layers:0-3, query, document, names with *, or all where a reader is trained',
    group: 'Parts of a given model',
  },
  /** The only parts of a given model that are trained, in the same words. */
  trainOnly: {
    type: 'list',
    value: 'parts',
    help: 'the only parts that are trained, in the same words as for --freeze',
    group: 'Parts of a given model',
  },
} as const satisfies OptionTable;
