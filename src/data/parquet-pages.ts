import type { AsyncBuffer, ColumnMetaData, Compressors, FileMetaData, SchemaTree } from 'hyparquet';
import { count } from '../util/format.ts';
import { quote } from './corpus.ts';

/** Most values in a page. Writers cut pages at about a megabyte. */
const MOST_VALUES = 2 ** 24;
/** Largest page after decompression, in bytes. */
const MOST_PAGE_BYTES = 2 ** 30;

type RowGroup = FileMetaData['row_groups'][number];

/** Lengths that the header of a page states. */
interface Page {
  /** Number of values, nulls included; undefined for a dictionary. */
  readonly values: number | undefined;
  /** Whether levels stand before the compressed part (version 2). */
  readonly levelsApart: boolean;
  /** Encoding of the values in runs: indices into a dictionary, booleans, or none. */
  readonly runs: 'indices' | 'booleans' | undefined;
}

/**
 * Checks that every group of rows has each column of the schema once.
 *
 * @throws Error for a footer whose columns are not those of its schema
 */
export function checkColumns({ row_groups }: FileMetaData, schema: SchemaTree): void {
  const leaves = leavesOf(schema);
  const expected = [...leaves.keys()].sort().join('\n');
  for (const [i, { columns, num_rows }] of row_groups.entries()) {
    if (num_rows === 0n) continue;
    const found = columns.map(({ meta_data }) => nameOf(meta_data)).sort();
    if (found.join('\n') !== expected) {
      const wrong = found.find((path) => !leaves.has(path));
      const reason =
        wrong === undefined ? 'lacks a column or has one twice' : `has an unknown column ${quote(wrong)}`;
      throw new Error(`row group ${i + 1} ${reason}`);
    }
    for (const { meta_data } of columns) {
      const isFlat = !leaves
        .get(nameOf(meta_data))!
        .some(({ element }) => element.repetition_type === 'REPEATED');
      if (isFlat && meta_data!.num_values !== num_rows) {
        throw new Error(
          `row group ${i + 1} has ${count(Number(num_rows))} rows, and ${count(Number(meta_data!.num_values))} values of ${quote(nameOf(meta_data))}`,
        );
      }
    }
  }
}

/**
 * Checks the page headers of a row group, and prepares the decompressors that check the pages.
 *
 * Damaged counts make hyparquet 1.31 fill arrays of any length, until V8 ends the process. Therefore each count
 * is held against the number of values in the page before the library reads it.
 *
 * @returns the row group and the decompressors to give to the library
 * @throws Error for a damaged page
 */
export async function checkedGroup(
  group: RowGroup,
  schema: SchemaTree,
  columns: readonly string[],
  source: AsyncBuffer,
  compressors: Compressors,
): Promise<{ group: RowGroup; compressors: Compressors }> {
  const leaves = leavesOf(schema);
  const { parquetHeader } = await import('hyparquet/src/column.js');
  const { snappyUncompress } = await import('hyparquet');
  const { getMaxDefinitionLevel, getMaxRepetitionLevel } = await import('hyparquet/src/schema.js');
  const checking: Record<string, NonNullable<Compressors[keyof Compressors]>> = {};
  const checked: RowGroup = { ...group, columns: [...group.columns] };
  for (const [i, chunk] of group.columns.entries()) {
    const meta = chunk.meta_data!;
    if (!columns.includes(meta.path_in_schema[0]!)) continue;
    const path = leaves.get(nameOf(meta))!;
    const widths = [getMaxRepetitionLevel(path), getMaxDefinitionLevel(path)].map(
      (most) => 32 - Math.clz32(most),
    );
    const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
    const bytes = await source.slice(start, start + Number(meta.total_compressed_size));
    const pages = pagesOf(bytes, meta, widths, parquetHeader);
    const unpack = (input: Uint8Array, size: number): Uint8Array => {
      if (meta.codec === 'UNCOMPRESSED') return input;
      const own = compressors[meta.codec];
      if (own) return own(input, size);
      if (meta.codec !== 'SNAPPY') throw new Error(`unknown compression ${meta.codec}`);
      const output = new Uint8Array(size);
      snappyUncompress(input, output);
      return output;
    };
    // The library looks up the decompressor by the name of the codec. A name for each column lets its decompressor
    // know which page it gets.
    const name = `${meta.codec} of column ${i}`;
    let next = 0;
    checking[name] = (input, size) => {
      const page = unpack(input, size);
      const { values, levelsApart, runs } = pages[next++] ?? {
        values: undefined,
        levelsApart: false,
        runs: undefined,
      };
      if (values !== undefined) checkContent(page, values, levelsApart ? [] : widths, runs);
      return page;
    };
    checked.columns[i] = { ...chunk, meta_data: { ...meta, codec: name as ColumnMetaData['codec'] } };
  }
  return { group: checked, compressors: checking as Compressors };
}

/** Reads the headers of the pages of a column, as the library does, and returns those that it decompresses. */
function pagesOf(
  bytes: ArrayBuffer,
  meta: ColumnMetaData,
  widths: readonly number[],
  parquetHeader: typeof import('hyparquet/src/column.js').parquetHeader,
): Page[] {
  const pages: Page[] = [];
  const reader = { view: new DataView(bytes), offset: 0 };
  let total = 0;
  while (reader.offset < bytes.byteLength - 1 && total < Number(meta.num_values)) {
    const { type, compressed_page_size, uncompressed_page_size, ...header } = parquetHeader(reader);
    inRange('a page size', compressed_page_size, bytes.byteLength - reader.offset);
    inRange('a page size', uncompressed_page_size, MOST_PAGE_BYTES);
    const page = new Uint8Array(bytes, reader.offset, compressed_page_size);
    reader.offset += compressed_page_size;
    if (type === 'DICTIONARY_PAGE') {
      inRange('a number of dictionary entries', header.dictionary_page_header?.num_values, MOST_VALUES);
      pages.push({ values: undefined, levelsApart: false, runs: undefined });
      continue;
    }
    const second = type === 'DATA_PAGE_V2' ? header.data_page_header_v2 : undefined;
    const { num_values: values, encoding } = second ?? header.data_page_header ?? {};
    const isIndices = encoding === 'RLE_DICTIONARY' || encoding === 'PLAIN_DICTIONARY';
    const runs =
      meta.type === 'BOOLEAN' && encoding === 'RLE' ? 'booleans' : isIndices ? 'indices' : undefined;
    total += inRange('a number of values', values, Math.min(MOST_VALUES, Number(meta.num_values) - total));
    if (second) {
      const lengths = [second.repetition_levels_byte_length, second.definition_levels_byte_length];
      let at = 0;
      for (const [i, length] of lengths.entries()) {
        inRange('a length of levels', length, page.length - at);
        if (widths[i]! > 0) checkRuns(page, at, at + length, widths[i]!, values!);
        at += length;
      }
      inRange('a number of nulls', second.num_nulls, values!);
      if (!second.is_compressed) {
        checkContent(page.subarray(at), values!, [], runs);
        continue;
      }
    }
    pages.push({ values: values!, levelsApart: second !== undefined, runs });
  }
  if (total !== Number(meta.num_values)) {
    throw new Error(
      `${count(total)} values of ${quote(nameOf(meta))} instead of ${count(Number(meta.num_values))}`,
    );
  }
  return pages;
}

/** Checks the runs in a page: its levels, each with its length before it, and its indices into the dictionary. */
function checkContent(page: Uint8Array, values: number, widths: readonly number[], runs: Page['runs']): void {
  let at = 0;
  for (const width of runs === 'booleans' ? [...widths, 1] : widths) {
    if (width === 0) continue;
    if (at + 4 > page.length) throw new Error('a page ends early');
    const length = new DataView(page.buffer, page.byteOffset + at, 4).getUint32(0, true);
    at += 4;
    inRange('a length of levels', length, page.length - at);
    checkRuns(page, at, at + length, width, values);
    at += length;
  }
  if (runs !== 'indices' || at >= page.length) return;
  const width = page[at]!;
  inRange('a width of indices', width, 32);
  if (width > 0) checkRuns(page, at + 1, page.length, width, values);
}

/** Checks that no run of equal values in the hybrid encoding is longer than all values of the page. */
function checkRuns(bytes: Uint8Array, start: number, end: number, width: number, values: number): void {
  for (let at = start, seen = 0; seen < values && at < end; ) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= end || shift > 28) throw new Error('a run has no length');
      const byte = bytes[at++]!;
      header |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    const packed = (header & 1) === 1;
    const length = packed ? (header >>> 1) * 8 : header >>> 1;
    // Bit-packed runs are filled up to multiples of eight.
    inRange('a run', length, values - seen + (packed ? 512 : 0));
    if (length === 0) throw new Error('an empty run');
    at += packed ? (header >>> 1) * width : (width + 7) >> 3;
    seen += length;
  }
}

/** Checks a count of a header; a damaged one may be of any type. */
function inRange(what: string, value: number | undefined, most: number): number {
  if (value !== undefined && Number.isSafeInteger(value) && value >= 0 && value <= most) return value;
  const found = typeof value === 'number' ? count(value) : 'nothing';
  throw new Error(`expected ${what} of at most ${count(most)}, found ${found}`);
}

const nameOf = (meta: ColumnMetaData | undefined): string => meta?.path_in_schema.join('.') ?? '';

/** Paths from the root to the columns that hold values, by name. */
function leavesOf(schema: SchemaTree): Map<string, SchemaTree[]> {
  const leaves = new Map<string, SchemaTree[]>();
  const collect = (node: SchemaTree, above: readonly SchemaTree[]): void => {
    const path = [...above, node];
    if (node.children.length === 0) leaves.set(node.path.join('.'), path);
    for (const child of node.children) collect(child, path);
  };
  for (const child of schema.children) collect(child, [schema]);
  return leaves;
}
