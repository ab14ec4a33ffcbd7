import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/**
 * Configuration of the tests that `webgpu.test.ts` runs in a separate process. The environment of that
 * process names the driver and the device.
 */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['src/grad/rules.test.ts', 'test/webgpu/*.check.ts'],
    setupFiles: 'test/setup.ts',
    pool: 'forks',
    maxWorkers: 1,
    isolate: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
