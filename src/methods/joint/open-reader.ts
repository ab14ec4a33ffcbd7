import { join } from 'node:path';
import { architectures } from '../../models/architectures/all.ts';
import { SequenceToSequenceModel } from '../../models/encoder-decoder/sequence-to-sequence.ts';
import { findModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { MASKED_MODEL_TYPES } from '../../models/masked/masked-head.ts';
import { MaskedLanguageModel } from '../../models/masked/masked-language-model.ts';
import { describeTuning, type TuningOptions } from '../../models/retriever/tuning.ts';
import { UsageError } from '../../util/errors.ts';
import { isObject, optionalJson } from '../../util/json-objects.ts';
import { option } from '../../util/option-name.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { PartOpening } from '../contract/trained-part.ts';
import { noReader } from '../table/reader-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import { DecoderReader } from './decoder-reader.ts';
import { FusionReader } from './fusion-reader.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';
import type { JointReader, ReaderSettings } from './joint-reader.ts';
import { MaskedReader } from './masked-reader.ts';

/** Default learning rates of a reader. */
const FULL_RATE = 5e-5;
const LORA_RATE = 5e-4;
/** Default rank of its adapters. */
const LORA_RANK = 8;

const OPTIONS = {
  ...pickOptions(READER_OPTIONS, 'reader', 'readerPrompt', 'readerTokens'),
  ...JOINT_READER_OPTIONS,
};

/**
 * Loads the reader that the options name: a causal language model, an encoder-decoder, which reads as in Fusion-in-Decoder, or a masked
 * language model, which fills in masks.
 *
 * @throws UsageError where there is no such model, it is of no such kind, or nothing in it is called as the options say
 */
export async function openReader({ options, seed, onNote, onProgress }: PartOpening): Promise<JointReader> {
  const given = optionValues(OPTIONS, options);
  const { reader, readerTuning, readerLora, readerLoraTargets, readerLr } = given;
  if (reader === undefined) throw noReader();
  const folder = await findModel(reader, [], { option: 'reader', onProgress });
  const lora: TuningOptions = {
    ...{ lora: readerLora ?? LORA_RANK, seed },
    ...(readerLoraTargets && { loraTargets: readerLoraTargets }),
    optionNames: { lora: 'readerLora', loraTargets: 'readerLoraTargets' },
  };
  const settings: ReaderSettings = {
    lr: readerLr ?? (readerTuning === 'lora' ? LORA_RATE : FULL_RATE),
    source: reader,
    prompt: given.readerPrompt,
    maxTokens: given.readerTokens,
    tuning: ({ full: {}, lora, frozen: 'frozen' } as const)[readerTuning],
  };
  const notes = { ...(onNote && { onNote: (note: string) => onNote(`reader: ${note}`) }) };
  const kind = await kindOf(folder, reader);
  const opened = await kind.open(folder, settings, notes);
  const trained = describeTuning(opened.tuned);
  for (const note of [trained, opened.note]) if (note) onNote?.(`reader: ${note}`);
  return opened;
}

/** Kind of model that can read. */
interface ReaderKind {
  /** Noun for messages, in the plural. */
  readonly noun: string;
  /** Tells by its `model_type` whether a model is of this kind. */
  is(modelType: string): boolean;
  open(folder: string, settings: ReaderSettings, notes: LoadNotes): Promise<JointReader>;
}

type LoadNotes = { onNote?: (note: string) => void };

/** Every kind of reader. */
const KINDS: readonly ReaderKind[] = [
  {
    noun: 'causal language models',
    is: (type) => architectures.get(type)?.logitParameter !== undefined,
    open: async (folder, settings, notes) =>
      new DecoderReader(await LanguageModel.load(folder, notes), settings),
  },
  {
    noun: 'encoder-decoders',
    is: (type) => architectures.get(type)?.decoder !== undefined,
    open: async (folder, settings, notes) =>
      new FusionReader(await SequenceToSequenceModel.load(folder, notes), settings),
  },
  {
    noun: 'masked language models',
    is: (type) => MASKED_MODEL_TYPES.includes(type),
    open: async (folder, settings, notes) =>
      new MaskedReader(await MaskedLanguageModel.load(folder, notes), settings),
  },
];

/**
 * Finds out what kind of reader a folder holds.
 *
 * @throws UsageError for a model of another kind
 */
async function kindOf(folder: string, source: string): Promise<ReaderKind> {
  const file = join(folder, 'config.json');
  const config = await optionalJson(file);
  const type = isObject(config) ? config.model_type : undefined;
  const kind = typeof type === 'string' ? KINDS.find((each) => each.is(type)) : undefined;
  if (kind) return kind;
  const known = [...architectures.keys()];
  const lists = KINDS.map(({ noun, is }) => `${noun} (${known.filter(is).join(', ')})`);
  const found =
    config === undefined
      ? 'has no config.json'
      : `is of the type ${JSON.stringify(type) ?? '""'}, which reads no passages`;
  throw new UsageError(`${option('reader')}: ${source} ${found}`, {
    help: `readers are ${lists.join(', ').replace(/, ([^,(]*\([^)]*\))$/, ' and $1')}`,
  });
}
