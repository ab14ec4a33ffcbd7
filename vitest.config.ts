import { defineConfig } from 'vitest/config';

/** Tests marked slow (training runs, benchmarks of minutes) run only with SLOW=1. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: 'test/build.ts',
    // Native sessions live in child processes, two at a time: the reference machine has two cores.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
