import { join } from 'node:path';
import { TOKEN_STATES, type TokenState } from '../models/language/decoder.ts';
import {
  aCount,
  aText,
  checked,
  checkShape,
  type JsonShape,
  objectOf,
  oneOf,
  orNull,
} from '../util/json-shape.ts';

/** Number of the format of a datastore. */
const FORMAT = 1;

/** Settings of a datastore, which decide on every byte of it. */
export interface DatastoreSettings {
  /** Id of the language model (see `languageModelId`). */
  readonly model: string;
  /** Id of its tokenizer (see `tokenizerId`). */
  readonly tokenizer: string;
  /** Number of tokens V of the model. */
  readonly vocabSize: number;
  /** State of the model that is the key of a token. */
  readonly keys: TokenState;
  /** Size of a key, D. */
  readonly dimension: number;
  /** Tokens that were read at once. */
  readonly window: number;
  /** Tokens between the beginnings of windows. */
  readonly stride: number;
  /** Number of tokens to store at most; null for all of the text. */
  readonly limitTokens: number | null;
  /** Name of the text. */
  readonly data: string;
}

/** Content of a datastore's `manifest.json`, apart from the format number. */
export interface DatastoreManifest extends DatastoreSettings {
  /** Number of tokens, N. */
  readonly tokens: number;
  /** Number of documents that they come from. */
  readonly documents: number;
  /** Digest of ids and texts of the documents that were read. */
  readonly fingerprint: string;
}

/** Progress of a datastore that is being built: what its files hold for certain. */
export interface DatastoreState {
  /** Number of tokens. */
  readonly tokens: number;
  /** Number of documents that were begun. */
  readonly documents: number;
  /** Number of windows of the last of them that are stored. */
  readonly windows: number;
  /** Size of the list of documents, in bytes. */
  readonly documentBytes: number;
  /** Digest of the documents that were read. */
  readonly fingerprint: string;
  /** Number of documents that were read, those without a token included. */
  readonly documentsRead: number;
}

/** Files of a datastore. */
export const datastoreFiles = (folder: string) => ({
  /** Description of the datastore. Its presence says that the datastore is whole. */
  manifest: join(folder, 'manifest.json'),
  /** f16[N, D], row-major, little-endian: the keys. */
  keys: join(folder, 'keys.f16'),
  /** f32[N]: squared lengths of the keys as they are stored. */
  squares: join(folder, 'squares.f32'),
  /** i32[N]: the tokens that followed. */
  values: join(folder, 'values.i32'),
  /** JSONL: id of each document, and the row of its first token. */
  documents: join(folder, 'documents.jsonl'),
  /** Settings and progress of a datastore that is being built. */
  settings: join(folder, 'settings.json'),
  state: join(folder, 'state.json'),
});

/** Folder in which a datastore is built, before it gets its name. */
export const buildingFolder = (folder: string): string => `${folder.replace(/[\\/]+$/, '')}.building`;

const SETTINGS = {
  model: aText,
  tokenizer: aText,
  vocabSize: aCount,
  keys: oneOf(...TOKEN_STATES),
  dimension: aCount,
  window: aCount,
  stride: aCount,
  limitTokens: orNull(aCount),
  data: aText,
};
const MANIFEST = { ...SETTINGS, tokens: aCount, documents: aCount, fingerprint: aText };
const STATE = {
  tokens: aCount,
  documents: aCount,
  windows: aCount,
  documentBytes: aCount,
  fingerprint: aText,
  documentsRead: aCount,
};

const ofThisFormat = (fields: Readonly<Record<string, JsonShape>>): JsonShape =>
  checked(objectOf({ format: aCount, ...fields }), ({ format }) =>
    format === FORMAT
      ? undefined
      : `"format" must be ${FORMAT}, found ${format}: another version of Undrift wrote it`,
  );

/** Formats a JSON file of a datastore. */
export const datastoreJson = (content: DatastoreSettings | DatastoreManifest | DatastoreState): string =>
  `${JSON.stringify({ format: FORMAT, ...content }, null, 2)}\n`;

const REBUILD = 'build the datastore again: undrift lm datastore';

/** Checks the content of a manifest. */
export function asManifest(value: unknown, file: string): DatastoreManifest {
  checkShape(value, ofThisFormat(MANIFEST), { file, help: REBUILD });
  const { format: _, ...manifest } = value as { format: number } & DatastoreManifest;
  return manifest;
}

/** Checks the settings of a datastore that is being built. */
export function asSettings(value: unknown, file: string): DatastoreSettings {
  checkShape(value, ofThisFormat(SETTINGS), { file, help: REBUILD });
  const { format: _, ...settings } = value as { format: number } & DatastoreSettings;
  return settings;
}

/** Checks the progress of a datastore that is being built. */
export function asState(value: unknown, file: string): DatastoreState {
  checkShape(value, ofThisFormat(STATE), { file, help: REBUILD });
  const { format: _, ...state } = value as { format: number } & DatastoreState;
  return state;
}
