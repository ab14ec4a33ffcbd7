import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { UsageError } from '../util/errors.ts';

/**
 * Checks the name of `--out`.
 *
 * @param ending  how it must end, such as `.jsonl`
 * @throws UsageError for a name with another ending
 */
export function checkOutputName(out: string, ending: string): void {
  if (!out.endsWith(ending))
    throw new UsageError(`--out should be a file name ending in ${ending}, found "${out}"`);
}

/**
 * Checks that the output file is not part of the data.
 *
 * @throws UsageError for a file that the data may be read from
 */
export function checkNotOfData(out: string, data: string): void {
  const isData = [resolve(out), dirname(resolve(out))].includes(resolve(data)) && existsSync(out);
  if (!isData) return;
  throw new UsageError(`--out ${out} would replace a file of the data`, { help: 'choose another name' });
}
