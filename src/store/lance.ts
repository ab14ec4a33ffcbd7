import { UndriftError } from '../util/errors.ts';

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
 * @throws UndriftError if it is not installed
 */
export function loadLance(): Promise<Lance> {
  loaded ??= importLance();
  return loaded;
}

async function importLance(): Promise<Lance> {
  // LanceDB warns on stderr about every table that it creates.
  process.env.LANCEDB_LOG ??= 'error';
  try {
    const [lancedb, arrow] = await Promise.all([import('@lancedb/lancedb'), import('apache-arrow')]);
    return { lancedb, arrow };
  } catch (cause) {
    loaded = undefined;
    throw new UndriftError('a store needs LanceDB, which is not installed or does not run here', {
      help: `install it beside undrift: npm install ${PACKAGES}`,
      cause,
    });
  }
}
