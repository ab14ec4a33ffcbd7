import { expect, it } from 'vitest';
import { fuzz, fuzzOptions } from './fuzz.ts';

const IS_WHOLE = process.env.MODE === 'whole';

/**
 * Every reader answers damaged files with an error of ours, or reads them. `npm run fuzz` tries more of them, and UNDRIFT_FUZZ_SEED
 * others.
 */
it(
  'damaged files give errors of ours',
  async () => {
    const options = fuzzOptions(IS_WHOLE ? 20_000 : 2000);
    console.log(`fuzz: seed ${options.seed}, ${options.cases} mutations`);
    const { faults, answers } = await fuzz(options);
    expect(faults.join('\n\n')).toBe('');
    const all = Object.values(answers);
    const read = all.reduce((sum, each) => sum + each.read, 0);
    const refused = all.reduce((sum, each) => sum + each.refused, 0);
    expect(read + refused).toBe(options.cases);
    // The files are damaged enough to be refused, and not so much that readers stop at the first byte.
    expect(refused / options.cases).toBeGreaterThan(0.3);
    expect(refused / options.cases).toBeLessThan(0.95);
  },
  IS_WHOLE ? 3_600_000 : 300_000,
);
