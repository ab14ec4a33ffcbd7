import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { memoryFolder } from './test/memory-folder.ts';

// Temporary files lie in memory, unless the environment names another place.
if (memoryFolder !== undefined) process.env.TMPDIR ??= memoryFolder;

const END_TO_END = fileURLToPath(new URL('test/', import.meta.url));

/** Order of test files: those of `test/` first, which take longest, so that no process is left alone with one of them at the end. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => moduleId.startsWith(END_TO_END);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: 'test/build.ts',
    setupFiles: 'test/setup.ts',
    sequence: { sequencer: LongFirst },
    // Native sessions live in child processes, two at a time: the reference machine has two cores.
    pool: 'forks',
    maxWorkers: 2,
    // Modules are loaded once for all files of a process. CONTRIBUTING.md says what this asks of a test.
    isolate: false,
    // The built package is loaded as it is.
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
