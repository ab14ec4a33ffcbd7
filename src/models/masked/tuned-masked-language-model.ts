import { TunedModel } from '../language/tuned-model.ts';
import { MaskedLanguageModel } from './masked-language-model.ts';

/** Masked language model of which a run trains the chosen parameters, or LoRA adapters beside its matrices. */
export class TunedMaskedLanguageModel extends TunedModel<MaskedLanguageModel> {
  /** Makes a model of the current weights in which adapters are added to their matrices. Other weights are the live arrays. */
  merged(): MaskedLanguageModel {
    const { network, tokenizer } = this.model;
    return new MaskedLanguageModel(network, tokenizer, this.mergedWeights());
  }
}
