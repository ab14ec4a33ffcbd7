import type { DataInMemory } from '../../data/data-in-memory.ts';
import { pinModel } from '../../models/folder/find-model.ts';
import type { PreparedRun } from '../compose-run.ts';
import { checkResumed } from '../run-folder.ts';
import type { TextSettings } from './text-run-settings.ts';
import { RunTexts } from './texts.ts';

/** Texts of a run, and its settings with the model that is meant for good. */
export interface OpenedTextRun<Settings extends TextSettings> {
  readonly settings: Settings;
  readonly texts: RunTexts;
  /** Folder of the run that is resumed; undefined for one that begins. */
  readonly fromRun: string | undefined;
}

/**
 * Opens what a run on texts reads: pins the model, reads the texts once, and checks a run that is resumed.
 *
 * @param sources  texts to train on and to evaluate on
 * @param options.isNew  whether `model` names a new model
 * @throws DataError with file and line for invalid texts
 * @throws UndriftError where the run was begun with other settings or other texts
 */
export async function openTextRun<Settings extends TextSettings>(
  sources: { data: string | DataInMemory; evalData?: string | DataInMemory | undefined },
  asked: Settings,
  {
    run: { begun, progress, callbacks },
    isNew,
  }: { readonly run: PreparedRun; readonly isNew: (model: string) => boolean },
): Promise<OpenedTextRun<Settings>> {
  const { onNote, onProgress } = callbacks;
  const { model, out, columns, skipBadRows } = asked;
  const settings = {
    ...asked,
    model: isNew(model) ? model : await pinModel(model, { option: 'model', onProgress, onNote }),
  };
  const texts = await RunTexts.open(
    { data: sources.data, evalData: sources.evalData },
    { columns: columns ?? undefined, skipBadRows, onNote, onProgress },
  );
  if (begun) await checkResumed(out, settings, texts.fingerprint);
  return { settings, texts, fromRun: progress === 'saved' ? out : undefined };
}
