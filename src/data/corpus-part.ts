import { createHash } from 'node:crypto';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Option for the part of a corpus that one store holds. */
export const PART_OPTION = {
  /** Part of the corpus, such as `1/4`: passages whose id falls to it by a hash. Default all. */
  part: {
    type: 'text',
    value: 'i/n',
    check: (text) => parseCorpusPart(text),
    help: 'only the passages that fall to part i of n, by a hash of their ids, for one of n stores that share a corpus (default: all)',
  },
} as const satisfies OptionTable;

/** Part of a corpus that is divided by a hash of the ids. */
export interface CorpusPart {
  /** Number of the part, from 1. */
  readonly part: number;
  /** Number of parts. */
  readonly parts: number;
}

/**
 * Parses a part such as `1/4`.
 *
 * @throws UsageError for anything but two whole numbers, the first from 1 to the second
 */
export function parseCorpusPart(text: string): CorpusPart {
  const [, first = '', second = ''] = /^(\d{1,9})\/(\d{1,9})$/.exec(text.trim()) ?? [];
  const [part, parts] = [Number(first), Number(second)];
  if (first === '' || part < 1 || part > parts) {
    throw new UsageError(`${option('part')} names one of several parts, found '${text}'`, {
      help: `the first of four parts is ${option('part', '1/4')}`,
    });
  }
  return { part, parts };
}

/**
 * Computes the part that an id falls to: the first 6 bytes of its SHA-256 as a big-endian number, modulo the number of parts, plus 1.
 *
 * An id falls to the same part whatever else a corpus holds.
 */
export function partOfId(id: string, parts: number): number {
  return (createHash('sha256').update(id).digest().readUIntBE(0, 6) % parts) + 1;
}

/** Yields the documents that fall to a part; all if none is named. */
export async function* documentsOfPart<T extends { readonly id: string }>(
  documents: AsyncIterable<T> | Iterable<T>,
  part: string | undefined,
): AsyncGenerator<T> {
  if (part === undefined) {
    yield* documents;
    return;
  }
  const { part: own, parts } = parseCorpusPart(part);
  for await (const document of documents) if (partOfId(document.id, parts) === own) yield document;
}
