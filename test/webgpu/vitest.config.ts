import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** What `webgpu.test.ts` runs in a process of its own, whose environment names the driver and the device. */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['src/grad/rules.test.ts', 'test/webgpu/*.check.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
