import type { Decoder } from '../models/language/decoder.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { CHUNK_RETRIEVALS, type ChunkRetrieval } from './chunk-choice.ts';
import { addedConfigIn, type RetroConfig, retroConfig } from './retro-wing.ts';

/** Shape of the parts that RPT adds to a decoder, and how the model reads a long text. */
export interface RptConfig extends RetroConfig {
  /** Tokens of a window, which is what attention reaches; a multiple of `chunkTokens`. */
  readonly window: number;
  /** Tokens between the beginnings of windows, a multiple of `chunkTokens`. */
  readonly stride: number;
  /** Smallest gate η of a neighbour; null for no gates. */
  readonly gateFloor: number | null;
  /** Way of choosing neighbours with which the parts were trained. */
  readonly retrieval: ChunkRetrieval;
}

/** Smallest gate by default, as in the paper. */
const GATE_FLOOR = 0.1;
/** Chunks of a window by default, and those between the beginnings of windows: 2,048 and 1,024 tokens in the paper. */
const WINDOW_CHUNKS = 32;

/**
 * Fills in the shape of the added parts. Defaults follow the paper: chunks of 64 tokens, 2 neighbours, a neighbour encoder of one layer, which
 * reads the chunk; every layer of the upper half reads neighbours; windows of 32 chunks, or of what the model reads, every half window.
 *
 * @throws UsageError for a value out of range
 */
export function rptConfig(decoder: Decoder, given: Partial<RptConfig> = {}): RptConfig {
  const { layers } = decoder.cacheShape;
  const upper = Array.from({ length: Math.ceil(layers / 2) }, (_, i) => Math.floor(layers / 2) + 1 + i);
  const { window: _, stride: __, gateFloor = GATE_FLOOR, retrieval = 'learned', ...shape } = given;
  const parts = retroConfig(decoder, { encoderLayers: 1, crossLayers: upper, ...shape });
  const { chunkTokens } = parts;
  const most = Math.floor((decoder.maxTokens ?? Number.POSITIVE_INFINITY) / chunkTokens);
  if (most < 2) {
    throw new UsageError(
      `the model reads ${decoder.maxTokens} tokens, less than two chunks of ${chunkTokens}`,
      { help: `lower ${option('chunkTokens')}` },
    );
  }
  const window = given.window ?? chunkTokens * Math.min(WINDOW_CHUNKS, most);
  const inChunks = (name: 'window' | 'stride', value: number, low: number, high: number) => {
    if (value % chunkTokens === 0 && value >= low && value <= high) return;
    throw new UsageError(
      `${option(name, value)} must be a multiple of ${option('chunkTokens', chunkTokens)}, from ${low} to ${high}`,
    );
  };
  inChunks('window', window, 2 * chunkTokens, most * chunkTokens);
  const stride = given.stride ?? chunkTokens * Math.max(1, Math.floor(window / chunkTokens / 2));
  inChunks('stride', stride, chunkTokens, window);
  if (gateFloor !== null && !(gateFloor >= 0 && gateFloor <= 1))
    throw new UsageError(`${option('gateFloor')} must be from 0 to 1, found ${gateFloor}`);
  if (!CHUNK_RETRIEVALS.includes(retrieval)) {
    throw new UsageError(
      `${option('retrieval')} must be one of ${CHUNK_RETRIEVALS.join(', ')}, found ${retrieval}`,
    );
  }
  return { ...parts, window, stride, gateFloor, retrieval };
}

/** Checks the config that a file has. @throws DataError */
export const parseRptConfig = (decoder: Decoder, json: unknown, file: string): RptConfig =>
  addedConfigIn((given) => rptConfig(decoder, given), json, file);
