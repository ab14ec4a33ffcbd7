import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Before all tests: brings `dist/` up to date, for the tests that import or spawn the package as it is published. */
export default function build(): void {
  const root = fileURLToPath(new URL('..', import.meta.url));
  try {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
      cwd: root,
      encoding: 'utf8',
    });
  } catch (error) {
    // The files are written all the same; failing on types is the business of `npm run typecheck`.
    process.stderr.write(`${(error as { stdout: string }).stdout}\n`);
  }
}
