import { execFileSync } from 'node:child_process';
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const INFO = join(root, 'dist', '.tsbuildinfo');
const CONFIG = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'].map((name) => join(root, name));

const changedMs = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Tells whether `dist/` was built without an error since the last change of a source, a folder of sources, or the configuration. */
function isBuilt(): boolean {
  const builtMs = changedMs(INFO);
  const src = join(root, 'src');
  const sources = readdirSync(src, { recursive: true, encoding: 'utf8' }).map((name) => join(src, name));
  return [...CONFIG, src, ...sources].every((path) => changedMs(path) < builtMs);
}

/** Updates `dist/` before all tests. Some tests import or spawn the package as it is published. */
export default function build(): void {
  if (isBuilt()) return;
  try {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
      cwd: root,
      encoding: 'utf8',
    });
    const now = new Date();
    utimesSync(INFO, now, now);
  } catch (error) {
    // The files are written despite type errors, which `npm run typecheck` reports.
    process.stderr.write(`${(error as { stdout: string }).stdout}\n`);
    // The next build names them again.
    if (changedMs(INFO) > 0) utimesSync(INFO, 0, 0);
  }
}
