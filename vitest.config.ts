import { defineConfig } from 'vitest/config';

/** Tests marked slow (training runs, benchmarks of minutes) run only with SLOW=1. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: 'test/build.ts',
    setupFiles: 'test/setup.ts',
    // Native sessions live in child processes, two at a time: the reference machine has two cores.
    pool: 'forks',
    maxWorkers: 2,
    // The files of a process share its modules, which takes a quarter less time. CONTRIBUTING.md says what this asks of a test.
    isolate: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
