import type { OptionTable } from '../util/option-table.ts';
import { DEVICES } from './devices.ts';

/** Options for the device and the number of threads of programs. */
export const COMPUTE_OPTIONS = {
  /** Device that programs run on. */
  device: {
    type: 'choice',
    choices: DEVICES,
    default: 'cpu',
    help: 'device that models run on',
    group: 'Machine',
    aliases: ['use_cpu'],
  },
  /** Threads inside one operation. Default: all cores. */
  threads: {
    type: 'integer',
    min: 1,
    max: 1024,
    defaultHelp: 'all cores',
    help: 'threads inside one operation',
    group: 'Machine',
    aliases: ['numThreads', 'num_threads'],
  },
} as const satisfies OptionTable;

/** Options for the programs of a training. None of them is part of what makes a run: a resumed run may have others. */
export const TRAIN_COMPUTE_OPTIONS = {
  ...COMPUTE_OPTIONS,
  /** Whether the activations of each layer are computed again for the gradient rather than kept: less memory, about a quarter more time. */
  gradientCheckpointing: {
    type: 'switch',
    default: false,
    help: 'compute the activations of each layer again for the gradient rather than keep them: less memory, about a quarter more time, and the results do not change',
    group: 'Machine',
    aliases: ['gradient_checkpointing', 'activation_checkpointing'],
  },
} as const satisfies OptionTable;

/** Names of the options of {@link TRAIN_COMPUTE_OPTIONS}. */
export const TRAIN_COMPUTE_NAMES = Object.keys(
  TRAIN_COMPUTE_OPTIONS,
) as readonly (keyof typeof TRAIN_COMPUTE_OPTIONS)[];
