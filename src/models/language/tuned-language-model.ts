import { LanguageModel } from './language-model.ts';
import { TunedModel } from './tuned-model.ts';

/** Language model of which a run trains the chosen parameters, or LoRA adapters beside its matrices. */
export class TunedLanguageModel extends TunedModel<LanguageModel> {
  /** Makes a model of the current weights in which adapters are added to their matrices. Other weights are the live arrays. */
  merged(): LanguageModel {
    const { decoder, tokenizer, endIds, settings } = this.model;
    return new LanguageModel(decoder, tokenizer, this.mergedWeights(), { endIds: [...endIds], settings });
  }
}
