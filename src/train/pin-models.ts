import { existsSync } from 'node:fs';
import { isCommit, parseHubName } from '../hub/hub-name.ts';
import { pinModel } from '../models/folder/find-model.ts';
import type { ModelCard } from '../models/folder/model-card.ts';
import type { Progress } from '../util/progress.ts';
import type { TrainSettings } from './settings.ts';

/**
 * Replaces every model name on the hub by the commit that the name stands for now, and downloads the models. A run that is
 * resumed, or repeated from its `settings.json`, then begins with the same weights, even if the branch has changed.
 */
export async function pinModels(
  settings: TrainSettings,
  callbacks: {
    onProgress?: (progress: Progress) => void;
    onNote?: (note: string) => void;
  },
): Promise<TrainSettings> {
  const pin = (model: string, option: string) =>
    pinModel(model, {
      option,
      onProgress: callbacks.onProgress,
      onNote: callbacks.onNote,
    });
  const { model, mineFrom = null, guide = null, teacher = null, reader = null } = settings;
  return {
    ...settings,
    model: await pin(model, 'model'),
    ...(typeof mineFrom === 'string' && { mineFrom: await pin(mineFrom, 'mineFrom') }),
    ...(guide && { guide: await pin(guide, 'guide') }),
    ...(reader && { reader: await pin(reader, 'reader') }),
    ...(teacher && { teacher: await pin(teacher, 'teacher') }),
  };
}

/** Returns the entries of a model card for the model that training started from. */
export function baseModel(model: string): Pick<ModelCard, 'baseModel' | 'baseRevision'> {
  const name = existsSync(model) ? undefined : parseHubName(model, 'model');
  return name && isCommit(name.revision)
    ? { baseModel: name.repo, baseRevision: name.revision }
    : { baseModel: model };
}
