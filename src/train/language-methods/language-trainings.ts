import { atlas } from '../../methods/atlas.ts';
import { realm } from '../../methods/realm.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../language-model/options.ts';
import { PERPLEXITY } from '../language-model/subject.ts';
import { trainLanguageModel } from '../language-model/train-language-model.ts';
import { nextTokenTraining } from '../language-model/window-training.ts';
import { RETRO_TRAIN_OPTIONS, type RetroTrainOptions } from '../retro/options.ts';
import { RETRO_METHOD, trainRetro } from '../retro/train-retro.ts';
import { TRIME_TRAIN_OPTIONS, type TrimeTrainOptions } from '../trime/options.ts';
import { trainTrime } from '../trime/train-trime.ts';
import { trimeTraining } from '../trime/trime-training.ts';
import { jointTraining } from './joint-training.ts';
import type { LanguageTraining } from './language-training.ts';

/** Names the perplexity on `evalData`, or on other texts where there is none. */
const perplexityOn =
  (others: string): LanguageTraining['evaluated'] =>
  ({ evalData }) => ({ evalMetric: PERPLEXITY, evalSplit: String(evalData ?? others) });

const languageModel: LanguageTraining = {
  id: nextTokenTraining.id,
  trains: 'a language model on next tokens',
  options: LANGUAGE_MODEL_OPTIONS,
  library: 'trainLanguageModel',
  evaluated: perplexityOn('held-out texts'),
  train: (options, callbacks) =>
    trainLanguageModel(options as unknown as LanguageModelTrainOptions, callbacks),
};

const retro: LanguageTraining = {
  id: RETRO_METHOD,
  trains: 'parts beside a given model that read neighbours of the text',
  options: RETRO_TRAIN_OPTIONS,
  library: 'trainRetro',
  evaluated: perplexityOn('nothing'),
  train: (options, callbacks) => trainRetro(options as unknown as RetroTrainOptions, callbacks),
};

const trime: LanguageTraining = {
  id: trimeTraining.id,
  trains: 'a language model on next tokens, with a memory of other tokens in its softmax',
  options: TRIME_TRAIN_OPTIONS,
  library: 'trainTrime',
  evaluated: perplexityOn('held-out texts'),
  train: (options, callbacks) => trainTrime(options as unknown as TrimeTrainOptions, callbacks),
};

/** Every way of training of `undrift lm train`, the default first. */
export const languageTrainings: readonly LanguageTraining[] = [
  languageModel,
  retro,
  trime,
  jointTraining(realm, 'a reader and its retriever on answers, summed over what is found'),
  jointTraining(atlas, 'a reader on answers after all that is found, and its retriever by what helps it'),
];
