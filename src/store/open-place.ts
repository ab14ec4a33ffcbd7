import { fileURLToPath } from 'node:url';
import { UsageError } from '../util/errors.ts';
import { BucketPlace } from './bucket-place.ts';
import { FolderPlace } from './folder-place.ts';
import type { Lance } from './lance.ts';
import type { StorePlace } from './store-place.ts';

/** Schemes of addresses that LanceDB stores tables at; the last one is that of a folder which is used like an object store. */
const SCHEMES = ['s3', 's3+ddb', 'gs', 'az', 'abfss', 'oss', 'file-object-store'];

/** Matches an address, and gives its scheme. */
const ADDRESS = /^([a-z][a-z0-9+.-]*):\/\//i;

/**
 * Opens the place of a store: a folder, or an address of an object store.
 *
 * @throws UsageError for an address of another kind
 */
export async function openPlace(lance: Lance, location: string): Promise<StorePlace> {
  const scheme = ADDRESS.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) return await FolderPlace.open(lance, location);
  if (scheme === 'file') return await FolderPlace.open(lance, fileURLToPath(location));
  const names = location.slice(scheme.length + '://'.length).split('/');
  if (SCHEMES.includes(scheme) && names.some((name) => name !== ''))
    return await BucketPlace.open(lance, location);
  throw new UsageError(`a store cannot lie at ${location}`, {
    help: 'name a folder, or an address such as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix',
  });
}
