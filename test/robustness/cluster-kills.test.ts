import { describe, expect, it } from 'vitest';
import { noNats } from '../nats-server.ts';
import { FAULTS } from './cluster-faults.ts';
import { tryFault, whyNot } from './cluster-kills.ts';

/** Whether all faults are tried, twenty times each: `npm run test:robustness`. */
const whole = process.env.MODE === 'whole';
/** Faults of a bounded drill. */
const BOUNDED = ['worker', 'duplicates'];

describe.skipIf(noNats !== undefined)(`a cluster in which parts fail${noNats ? `: ${noNats}` : ''}`, () => {
  const names = whole ? Object.keys(FAULTS) : BOUNDED;
  const rounds = whole ? 20 : 1;
  for (const name of names) {
    const { title } = FAULTS[name]!;
    const reason = whyNot(FAULTS[name]!);
    it.skipIf(reason !== undefined)(
      `${title}: no row is lost or wrong${reason ? ` (skipped: ${reason})` : ''}`,
      { timeout: whole ? 7_200_000 : 300_000 },
      async () => {
        expect(await tryFault(name, rounds, 1)).toMatchObject({ rounds, failed: 0 });
      },
    );
  }
});
