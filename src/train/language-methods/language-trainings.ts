import { atlas } from '../../methods/atlas.ts';
import { realm } from '../../methods/realm.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../language-model/options.ts';
import { PERPLEXITY } from '../language-model/subject.ts';
import { trainLanguageModel } from '../language-model/train-language-model.ts';
import { nextTokenTraining } from '../language-model/window-training.ts';
import { MASKED_TRAIN_OPTIONS, type MaskedTrainOptions } from '../masked/options.ts';
import { MASKED_METHOD } from '../masked/settings.ts';
import { MASKED_LOSS } from '../masked/subject.ts';
import { trainMasked } from '../masked/train-masked.ts';
import { NPM_TRAIN_OPTIONS, type NpmTrainOptions } from '../npm/options.ts';
import { NPM_METHOD } from '../npm/settings.ts';
import { PHRASE_LOSS } from '../npm/subject.ts';
import { trainNpm } from '../npm/train-npm.ts';
import { RETRO_TRAIN_OPTIONS, type RetroTrainOptions } from '../retro/options.ts';
import { RETRO_METHOD, trainRetro } from '../retro/train-retro.ts';
import { RPT_TRAIN_OPTIONS, type RptTrainOptions } from '../rpt/options.ts';
import { RPT_METHOD } from '../rpt/settings.ts';
import { trainRpt } from '../rpt/train-rpt.ts';
import { TRIME_TRAIN_OPTIONS, type TrimeTrainOptions } from '../trime/options.ts';
import { trainTrime } from '../trime/train-trime.ts';
import { trimeTraining } from '../trime/trime-training.ts';
import { jointTraining } from './joint-training.ts';
import type { LanguageTraining } from './language-training.ts';

/** Names a metric on `evalData`, or on other texts where there is none. */
const measuredOn =
  (evalMetric: string, others: string): LanguageTraining['evaluated'] =>
  ({ evalData }) => ({ evalMetric, evalSplit: String(evalData ?? others) });

const languageModel: LanguageTraining = {
  id: nextTokenTraining.id,
  trains: 'a language model on next tokens',
  options: LANGUAGE_MODEL_OPTIONS,
  library: 'trainLanguageModel',
  evaluated: measuredOn(PERPLEXITY, 'held-out texts'),
  train: (options, callbacks) =>
    trainLanguageModel(options as unknown as LanguageModelTrainOptions, callbacks),
};

const retro: LanguageTraining = {
  id: RETRO_METHOD,
  trains: 'parts beside a given model that read neighbours of the text',
  options: RETRO_TRAIN_OPTIONS,
  library: 'trainRetro',
  evaluated: measuredOn(PERPLEXITY, 'nothing'),
  train: (options, callbacks) => trainRetro(options as unknown as RetroTrainOptions, callbacks),
};

const trime: LanguageTraining = {
  id: trimeTraining.id,
  trains: 'a language model on next tokens, with a memory of other tokens in its softmax',
  options: TRIME_TRAIN_OPTIONS,
  library: 'trainTrime',
  evaluated: measuredOn(PERPLEXITY, 'held-out texts'),
  train: (options, callbacks) => trainTrime(options as unknown as TrimeTrainOptions, callbacks),
};

const masked: LanguageTraining = {
  id: MASKED_METHOD,
  trains: 'a masked language model, from which npm and a reader of realm can start',
  options: MASKED_TRAIN_OPTIONS,
  library: 'trainMasked',
  evaluated: measuredOn(MASKED_LOSS, 'held-out texts'),
  train: (options, callbacks) => trainMasked(options as unknown as MaskedTrainOptions, callbacks),
};

const npm: LanguageTraining = {
  id: NPM_METHOD,
  trains: 'an encoder that finds the phrase behind a mask in other texts instead of predicting it',
  options: NPM_TRAIN_OPTIONS,
  library: 'trainNpm',
  evaluated: measuredOn(PHRASE_LOSS, 'held-out texts'),
  train: (options, callbacks) => trainNpm(options as unknown as NpmTrainOptions, callbacks),
};

const rpt: LanguageTraining = {
  id: RPT_METHOD,
  trains: 'a given model and parts beside it that retrieve chunks of the same long text',
  options: RPT_TRAIN_OPTIONS,
  library: 'trainRpt',
  evaluated: measuredOn(PERPLEXITY, 'nothing'),
  train: (options, callbacks) => trainRpt(options as unknown as RptTrainOptions, callbacks),
};

/** Every way of training of `undrift lm train`, the default first. */
export const languageTrainings: readonly LanguageTraining[] = [
  languageModel,
  retro,
  trime,
  masked,
  npm,
  rpt,
  jointTraining(realm, 'a reader and its retriever on answers, summed over what is found'),
  jointTraining(atlas, 'a reader on answers after all that is found, and its retriever by what helps it'),
];
