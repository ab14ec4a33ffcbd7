import { join } from 'node:path';
import { architectures } from '../../models/architectures/all.ts';
import { SequenceToSequenceModel } from '../../models/encoder-decoder/sequence-to-sequence.ts';
import { findModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { describeTuning, type TuningOptions } from '../../models/retriever/tuning.ts';
import { isObject, optionalJson } from '../../util/json-objects.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { PartOpening } from '../contract/trained-part.ts';
import { noReader } from '../table/reader-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import { DecoderReader } from './decoder-reader.ts';
import { FusionReader } from './fusion-reader.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';
import type { JointReader, ReaderSettings } from './joint-reader.ts';

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
 * Loads the reader that the options name: a causal language model, or an encoder-decoder, which reads as in Fusion-in-Decoder.
 *
 * @throws UsageError where there is no such model, it is of neither kind, or nothing in it is called as the options say
 */
export async function openReader({ options, seed, onNote, onProgress }: PartOpening): Promise<JointReader> {
  const given = optionValues(OPTIONS, options);
  const { reader, readerTuning, readerLora, readerLoraTargets, readerLr } = given;
  if (reader === undefined) throw noReader();
  const folder = await findModel(reader, [], { option: 'reader', onProgress });
  const lora: TuningOptions = {
    ...{ lora: readerLora ?? LORA_RANK, seed },
    ...(readerLoraTargets && { loraTargets: readerLoraTargets }),
  };
  const settings: ReaderSettings = {
    lr: readerLr ?? (readerTuning === 'lora' ? LORA_RATE : FULL_RATE),
    source: reader,
    prompt: given.readerPrompt,
    maxTokens: given.readerTokens,
    tuning: ({ full: {}, lora, frozen: 'frozen' } as const)[readerTuning],
  };
  const notes = { ...(onNote && { onNote: (note: string) => onNote(`reader: ${note}`) }) };
  const opened = (await isEncoderDecoder(folder))
    ? new FusionReader(await SequenceToSequenceModel.load(folder, notes), settings)
    : new DecoderReader(await LanguageModel.load(folder, notes), settings);
  const trained = describeTuning(opened.tuned);
  if (trained) onNote?.(`reader: ${trained}`);
  return opened;
}

async function isEncoderDecoder(folder: string): Promise<boolean> {
  const config = await optionalJson(join(folder, 'config.json'));
  const type = isObject(config) ? config.model_type : undefined;
  return typeof type === 'string' && architectures.get(type)?.decoder !== undefined;
}
