import { DataError } from './errors.ts';

/**
 * Refuses a file of a newer format than this version reads.
 *
 * @param what  thing that has the format, for the message: "the folder"
 * @param format  number of its format
 * @param options.reads  newest format that this version reads
 * @throws DataError if `format` is larger than `reads`
 */
export function checkFormat(
  what: string,
  format: number,
  { reads, file }: { reads: number; file: string },
): void {
  if (format <= reads) return;
  throw new DataError(`${what} has format ${format}, this version of Undrift reads ${reads}`, {
    file,
    help: 'update Undrift',
  });
}
