import type { Method } from '../../methods/contract/method.ts';
import { pickOptions } from '../../util/option-table.ts';
import { RUN_OPTIONS, SUBJECT_OPTIONS, type TrainOptions } from '../options.ts';
import { trainRetriever } from '../train-retriever.ts';
import type { LanguageTraining } from './language-training.ts';

const { method: _method, resume: _resume, overwrite: _overwrite, ...OTHERS } = RUN_OPTIONS;
const { device: _device, threads: _threads, gradientCheckpointing: _checkpointing, ...OPTIONS } = OTHERS;

/**
 * Makes the way of training of a method that trains a language model beside a retriever. The run is that of `trainRetriever`: `model` is
 * the retriever, `reader` the language model.
 *
 * @param trains  words on what is trained, for the help
 */
export const jointTraining = (method: Method, trains: string): LanguageTraining => ({
  id: method.id,
  trains,
  options: { ...OPTIONS, ...method.options, ...pickOptions(SUBJECT_OPTIONS, 'data', 'out') },
  library: 'trainRetriever',
  evaluated: ({ evalMetric, evalSplit }) => ({
    evalMetric: String(evalMetric),
    evalSplit: String(evalSplit),
  }),
  train: (options, callbacks) =>
    trainRetriever({ ...(options as unknown as TrainOptions), method: method.id }, callbacks),
});
