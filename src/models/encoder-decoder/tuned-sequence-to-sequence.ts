import { TunedModel } from '../language/tuned-model.ts';
import { SequenceToSequenceModel } from './sequence-to-sequence.ts';

/** Sequence-to-sequence model of which a run trains the chosen parameters, or LoRA adapters beside its matrices. */
export class TunedSequenceToSequence extends TunedModel<SequenceToSequenceModel> {
  /** Makes a model of the current weights in which adapters are added to their matrices. Other weights are the live arrays. */
  merged(): SequenceToSequenceModel {
    const { network, tokenizer, endIds, settings } = this.model;
    return new SequenceToSequenceModel(network, tokenizer, this.mergedWeights(), {
      endIds: [...endIds],
      settings,
    });
  }
}
