import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Updates `dist/` before all tests. Some tests import or spawn the package as it is published. */
export default function build(): void {
  const root = fileURLToPath(new URL('..', import.meta.url));
  try {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
      cwd: root,
      encoding: 'utf8',
    });
  } catch (error) {
    // The files are written despite type errors, which `npm run typecheck` reports.
    process.stderr.write(`${(error as { stdout: string }).stdout}\n`);
  }
}
