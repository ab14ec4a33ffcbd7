import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { NO_SWIFTSHADER, swiftShaderEnvironment } from './swiftshader.ts';

const environment = swiftShaderEnvironment();
const root = fileURLToPath(new URL('..', import.meta.url));

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { message: string; assertionResults: { fullName: string; failureMessages: string[] }[] }[];
}

/**
 * Runs the tests of `test/webgpu/vitest.config.ts` in a separate process, which a crash of the driver does
 * not outlive.
 */
function testsOnWebGpu(): Promise<{ report: Report | undefined; errors: string }> {
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/webgpu/vitest.config.ts'];
  const child = spawn(process.execPath, [...vitest, '--reporter=json'], {
    cwd: root,
    env: { ...process.env, ...environment, UNDRIFT_TEST_DEVICE: 'webgpu' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { out: '', errors: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.errors += text;
  });
  return new Promise((resolve) => {
    child.on('close', () => {
      const json = output.out.split('\n').find((line) => line.startsWith('{"numTotalTestSuites"'));
      resolve({ report: json ? JSON.parse(json) : undefined, errors: output.errors });
    });
  });
}

describe.skipIf(!environment)(
  `WebGPU on a software GPU${environment ? '' : ` (skipped: ${NO_SWIFTSHADER})`}`,
  () => {
    it('computes every operation, its gradient and training as the CPU does', async () => {
      const { report, errors } = await testsOnWebGpu();
      expect(report, errors).toBeDefined();
      const failures = report!.testResults.flatMap(({ message, assertionResults }) => [
        ...(message ? [message] : []),
        ...assertionResults.flatMap(({ fullName, failureMessages }) =>
          failureMessages.map((reason) => `${fullName}: ${reason.slice(0, 500)}`),
        ),
      ]);
      expect(failures).toEqual([]);
      // The number proves that no operation and no run was left out.
      expect(report!.numPassedTests).toBeGreaterThan(65);
    }, 900_000);
  },
);
