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
