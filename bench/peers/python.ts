import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const INSTALLED = `${FOLDER}.venv/installed`;

/** Option of benchmarks that run Python beside Undrift. */
export const PEER_OPTIONS = {
  /** Leaves out the sides in Python. */
  'without-python': { type: 'boolean', default: false },
} as const;

/**
 * Finds packages that the Python of the peers lacks. Installs nothing.
 *
 * @returns  reason why the packages cannot be used; undefined if they can
 */
export function missingPeers(packages: readonly string[]): string | undefined {
  const python =
    process.env.UNDRIFT_PEERS_PYTHON ?? (existsSync(INSTALLED) ? `${FOLDER}.venv/bin/python` : undefined);
  if (python === undefined) {
    return 'no Python with PyTorch: set UNDRIFT_PEERS_PYTHON to one, or run npm run bench:peers once, which installs it';
  }
  const code = 'import importlib.util as u, sys; print(*[p for p in sys.argv[1:] if u.find_spec(p) is None])';
  try {
    const missing = execFileSync(python, ['-c', code, ...packages], { encoding: 'utf8' }).trim();
    return missing === '' ? undefined : `${python} lacks ${missing.replaceAll(' ', ', ')}`;
  } catch {
    return `${python} does not run`;
  }
}

/**
 * Finds a Python with PyTorch. Takes the one named by UNDRIFT_PEERS_PYTHON, or that of a virtual environment
 * beside this file, which the first call creates.
 */
export function peersPython(): string {
  const given = process.env.UNDRIFT_PEERS_PYTHON;
  if (given) {
    run(given, ['-c', 'import torch'], 'UNDRIFT_PEERS_PYTHON must name a Python that has PyTorch');
    return given;
  }
  const python = `${FOLDER}.venv/bin/python`;
  if (!existsSync(INSTALLED)) {
    console.error(`Installing PyTorch into ${FOLDER}.venv (once; several gigabytes on Linux)`);
    const needed = 'this benchmark needs Python 3.10 or newer with venv, e.g. the package python3-venv';
    run('python3', ['-m', 'venv', '--clear', `${FOLDER}.venv`], needed);
    const install = ['-m', 'pip', 'install', '--quiet', '--requirement', `${FOLDER}requirements.txt`];
    run(
      python,
      install,
      'PyTorch could not be installed; UNDRIFT_PEERS_PYTHON may name a Python that has it',
    );
    run(
      python,
      ['-c', `import torch; open(${JSON.stringify(INSTALLED)}, "w").close()`],
      'PyTorch does not load',
    );
  }
  return python;
}

function run(command: string, args: readonly string[], help: string): void {
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    const reason =
      code === 'ENOENT' ? `${command} was not found` : (stderr?.trim().split('\n').at(-1) ?? code);
    console.error(`bench:peers: ${reason}\n  help: ${help}`);
    process.exit(1);
  }
}
