import {
  CALM,
  DEFAULTS,
  type Failure,
  type SimulationResult,
  type SimulationSettings,
} from './simulation-settings.ts';

/** A cluster that was simulated. */
export interface SimulatedCase {
  readonly name: string;
  readonly settings: SimulationSettings;
  readonly result: SimulationResult;
}

const often = ({ perHour, seconds }: Failure, times: number): Failure => ({
  perHour: perHour * times,
  seconds,
});

/** The cases of `npm run bench:cluster-simulation`, by name. Each changes the defaults in what its name says. */
export function simulatedCases(): Readonly<Record<string, SimulationSettings>> {
  const { workerCrash, workerFreeze, ownerCrash, coordinatorCrash, serverLoss } = DEFAULTS;
  /** Enough streams for the workers, so that failures show. */
  const wide = { resultStreams: 8 };
  const changes: Readonly<Record<string, Partial<SimulationSettings>>> = {
    '10 workers, 10⁷ rows': { workers: 10, rows: 1e7, shards: 1 },
    '100 workers, 10⁸ rows': { workers: 100, rows: 1e8, shards: 8 },
    '300 workers': { workers: 300 },
    '1,000 workers': {},
    '1,000 workers, float16 rows': { valueBytes: 2 },
    '1,000 workers, 4 streams of results': { resultStreams: 4 },
    '1,000 workers, 8 streams of results': wide,
    '… 512 shards': { ...wide, shards: 512, shardTasks: 8 },
    '… a task is done when its rows are stored': { ...wide, boundResults: true },
    '… without failures': { ...wide, ...CALM },
    '… ten times as many failures': {
      ...wide,
      workerCrash: often(workerCrash, 10),
      workerFreeze: often(workerFreeze, 10),
      ownerCrash: often(ownerCrash, 10),
      coordinatorCrash: often(coordinatorCrash, 10),
      serverLoss: often(serverLoss, 10),
      lostTasks: 10 * DEFAULTS.lostTasks,
      lostResults: 10 * DEFAULTS.lostResults,
    },
    '… workers ten times as fast': { ...wide, workerRate: 10 * DEFAULTS.workerRate, resultStreams: 64 },
  };
  return Object.fromEntries(
    Object.entries(changes).map(([name, change]) => [name, { ...DEFAULTS, ...change }]),
  );
}
