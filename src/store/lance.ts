import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UndriftError } from '../util/errors.ts';
import { fileError } from '../util/file-error.ts';

/** LanceDB and Apache Arrow, which it exchanges rows with. */
export interface Lance {
  readonly lancedb: typeof import('@lancedb/lancedb');
  readonly arrow: typeof import('apache-arrow');
}

/** Versions that the tests run against; see "Store" in docs/architecture.md. */
const PACKAGES = '@lancedb/lancedb@0.37.1 apache-arrow@18.1.0';

let loaded: Promise<Lance> | undefined;

/**
 * Loads LanceDB on first use. It is an optional peer, because its native part has 180 MB.
 *
 * @throws UndriftError if it is not installed, or the folder of temporary files cannot be written
 */
export function loadLance(): Promise<Lance> {
  loaded ??= importLance().catch((error) => {
    // The next call tries again.
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function importLance(): Promise<Lance> {
  // LanceDB warns on stderr about every table that it creates.
  process.env.LANCEDB_LOG ??= 'error';
  await checkTemporaryFolder();
  try {
    const [lancedb, arrow] = await Promise.all([import('@lancedb/lancedb'), import('apache-arrow')]);
    return { lancedb, arrow };
  } catch (cause) {
    throw new UndriftError('a store needs LanceDB, which is not installed or does not run here', {
      help: `install it beside undrift: npm install ${PACKAGES}`,
      cause,
    });
  }
}

/** Checks that a folder for temporary files can be made. LanceDB makes one when it connects, and panics where it cannot. */
async function checkTemporaryFolder(): Promise<void> {
  // The place where LanceDB makes its folder: it does not read TMP and TEMP, except on Windows.
  const folder = process.platform === 'win32' ? tmpdir() : process.env.TMPDIR || '/tmp';
  try {
    await rmdir(await mkdtemp(join(folder, 'undrift-')));
  } catch (cause) {
    const { message } = fileError(cause, folder, 'make temporary files in') as UndriftError;
    throw new UndriftError(message.split('\n')[0]!, {
      help: 'name a folder that can be written in the environment variable TMPDIR',
      cause,
    });
  }
}
