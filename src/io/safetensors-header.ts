import { type DType, dtypeBySafetensorsName, dtypes, elementCount, tensorBytes } from '../onnx/dtypes.ts';
import { DataError } from '../util/errors.ts';
import { parseJson } from '../util/files.ts';

/**
 * Header of a safetensors file.
 *
 * The file begins with the length N of the header in eight bytes (little-endian). N bytes of JSON follow:
 *
 *     {"__metadata__": {"format": "pt"}, "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
 *
 * The bytes of the tensors come last. The offsets count from the end of the header.
 */
export interface SafetensorsHeader {
  /** Free text by key. */
  metadata: Record<string, string>;
  /** Type, shape and position of each tensor, in the order of the header. */
  tensors: ReadonlyMap<string, TensorPlace>;
  /** Names of the tensors whose element type is not read, with the type as the header spells it. */
  unreadable: ReadonlyMap<string, string>;
}

/** Type, shape and position of one tensor in a safetensors file. */
export interface TensorPlace {
  /** Element type. */
  dtype: DType;
  /** Shape. */
  dims: readonly number[];
  /** Position of the first byte, from the end of the header. */
  begin: number;
  /** Position after the last byte, from the end of the header. */
  end: number;
}

/** Limit of the reference implementation on the length of a header, in bytes. */
export const maximumHeaderBytes = 100_000_000;

/** Element types of safetensors that are not read, with their size in bits. */
const OTHER_TYPES: ReadonlyMap<string, number> = new Map([
  ['F4', 4],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['F8_E4M3', 8],
  ['F8_E4M3FNUZ', 8],
  ['F8_E5M2', 8],
  ['F8_E5M2FNUZ', 8],
  ['F8_E8M0', 8],
  ['I16', 16],
  ['U64', 64],
  ['C64', 64],
]);

/** Makes the error for a tensor whose element type is not read. */
export function unreadableTensor(file: string, name: string, type: string): DataError {
  const readable = Object.values(dtypes).map(({ safetensors }) => safetensors);
  return new DataError(`tensor '${name}' has the element type ${type}, which we do not read`, {
    file,
    help: OTHER_TYPES.has(type)
      ? `save the tensor in one of these types: ${readable.join(', ')}`
      : 'the file is damaged, or of a newer version of safetensors',
  });
}

/** Key of the metadata in the header; no tensor can have this name. */
export const metadataKey = '__metadata__';

/**
 * Parses and checks the header of a safetensors file.
 *
 * @param bytes the N bytes of JSON
 * @param dataBytes number of bytes that follow the header in the file
 * @param file path of the file, for error messages
 * @throws DataError if the header is not valid JSON, a tensor has no type, its size does not match its type and
 *   shape, or the tensors do not fill the rest of the file without gap or overlap.
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  dataBytes: number,
  file: string,
): SafetensorsHeader {
  const fail = (message: string): never => {
    throw new DataError(message, {
      file,
      help: 'the file is damaged or incomplete: copy or download it again',
    });
  };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail('the safetensors header is not UTF-8 text');
  }
  const header = parseJson(text, file);
  if (!isRecord(header)) return fail('the safetensors header is not a JSON object');
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) fail(`tensor '${duplicate}' occurs twice in the header`);

  let metadata: Record<string, string> = {};
  const tensors = new Map<string, TensorPlace>();
  const unreadable = new Map<string, string>();
  const places: (Pick<TensorPlace, 'begin' | 'end'> & { name: string })[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === metadataKey) {
      if (!isTextRecord(entry)) return fail(`${metadataKey} of the header is not an object of strings`);
      metadata = entry;
      continue;
    }
    if (!isRecord(entry)) return fail(`the header's entry for tensor '${name}' is not an object`);
    const type = entry.dtype;
    if (typeof type !== 'string') return fail(`tensor '${name}' has no element type`);
    if (!isSizes(entry.shape)) return fail(`tensor '${name}' has no valid shape`);
    if (!isSizes(entry.data_offsets) || entry.data_offsets.length !== 2) {
      return fail(`tensor '${name}' has no valid data_offsets`);
    }
    const dims = entry.shape;
    const [begin, end] = entry.data_offsets as [number, number];
    if (begin > end || end > dataBytes) {
      fail(`tensor '${name}' lies at bytes ${begin} to ${end} of the data, the file has ${dataBytes}`);
    }
    const dtype = dtypeBySafetensorsName.get(type);
    const bits = OTHER_TYPES.get(type);
    // The size of a type that is not known is not known either.
    const expected =
      dtype === undefined ? bits && Math.ceil((elementCount(dims) * bits) / 8) : tensorBytes(dtype, dims);
    if (expected !== undefined && end - begin !== expected) {
      fail(
        `tensor '${name}' of type ${type} and shape [${dims}] needs ${expected} bytes, has ${end - begin}`,
      );
    }
    places.push({ name, begin, end });
    if (dtype === undefined) unreadable.set(name, type);
    else tensors.set(name, { dtype, dims, begin, end });
  }
  checkCover(places, dataBytes, fail);
  return { metadata, tensors, unreadable };
}

/** Checks that every byte of the data belongs to exactly one tensor. */
function checkCover(
  places: (Pick<TensorPlace, 'begin' | 'end'> & { name: string })[],
  dataBytes: number,
  fail: (message: string) => never,
): void {
  const inOrder = [...places].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of inOrder) {
    if (begin < position) fail(`tensor '${name}' overlaps the one before it`);
    if (begin > position) fail(`bytes ${position} to ${begin} of the data belong to no tensor`);
    position = end;
  }
  if (position !== dataBytes) fail(`bytes ${position} to ${dataBytes} of the data belong to no tensor`);
}

/**
 * Finds the first key that occurs twice in the outermost object of a valid JSON text. JSON.parse would
 * silently keep the last value of such a key.
 */
function duplicateKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
      if (depth !== 1 || !followedByColon(json, i + 1)) continue;
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

/** Returns whether a colon follows. A string before a colon is a key; every other string is a value. */
function followedByColon(json: string, from: number): boolean {
  let i = from;
  while (' \t\r\n'.includes(json[i]!)) i++;
  return json[i] === ':';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTextRecord(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((item) => typeof item === 'string');
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
