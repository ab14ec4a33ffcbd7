import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { GenerationOptions, Prompt } from '../models/language/generate.ts';
import type { Generation } from '../models/language/generation-rows.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import { RETRO_CONFIG } from '../rlm/retro.ts';
import { openRetroSystem, RETRO_GENERATION_OPTIONS } from '../rlm/retro-spec.ts';
import { RPT_CONFIG } from '../rlm/rpt.ts';
import { openRptWriter, RPT_GENERATION_OPTIONS } from '../rlm/rpt-spec.ts';
import { UsageError } from '../util/errors.ts';
import { type OptionTable, type OptionValues, withoutDefaults } from '../util/option-table.ts';
import type { Io } from './io.ts';
import { PASSAGE_OPTIONS } from './lm-passages.ts';
import { showNotes, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { computeOptions } from './shared-options.ts';

/** Options of a model that reads neighbours of other documents. */
const RETRO_OPTIONS = {
  ...RETRO_GENERATION_OPTIONS,
  passageData: {
    ...RETRO_GENERATION_OPTIONS.passageData,
    group: RETRO_GENERATION_OPTIONS.neighbours.group,
    defaultHelp: 'none: the model is its base',
    help: 'retro: documents whose chunks are the neighbours that the model reads as it writes; --retriever finds them, and may be states too, the mean states of the language model',
  },
  excludeDocuments: {
    ...RETRO_GENERATION_OPTIONS.excludeDocuments,
    group: RETRO_GENERATION_OPTIONS.neighbours.group,
    help: `retro: ${RETRO_GENERATION_OPTIONS.excludeDocuments.help}`,
  },
} as const satisfies OptionTable;

/** Options of models that read neighbours of the chunks of their text. */
export const CHUNK_OPTIONS = withoutDefaults({ ...RETRO_OPTIONS, ...RPT_GENERATION_OPTIONS });

/** Values of the options that say how a model reads neighbours. */
type ChunkValues = OptionValues<typeof CHUNK_OPTIONS> & {
  readonly model: string;
  readonly device: string;
  readonly threads: number | undefined;
};

/** Model that reads neighbours of the chunks of its text as it writes. */
export interface ChunkWriter {
  readonly ledger: CostLedger;
  /** Tokens of a text that the model reads at most; undefined if there is no limit. */
  readonly maxTokens: number | undefined;
  /** Whether passages may stand in front of the text. */
  readonly takesPassages: boolean;
  generate(prompt: Prompt, options: GenerationOptions): AsyncGenerator<string, Generation, void>;
  dispose(): Promise<void>;
}

/**
 * Opens a model that reads neighbours of chunks: those of the documents of `--passage-data` (RETRO), or of the text itself (RPT).
 *
 * @returns undefined where the model reads its text alone
 * @throws UsageError for an option that the model has no use for
 */
export async function openChunkWriter(
  model: LanguageModel,
  folder: string,
  options: ChunkValues,
  io: Io,
): Promise<ChunkWriter | undefined> {
  const has = (file: string) => existsSync(join(folder, file));
  if (has(RPT_CONFIG)) return await openSelfReader(model, folder, options);
  const { chunkNeighbours: _, ...own } = RPT_GENERATION_OPTIONS;
  refuseOthers(withoutDefaults(own), options, {
    allowed: [],
    purpose: 'a model without a retriever inside it',
  });
  return await openDocumentReader(model, folder, options, { io, isRetro: has(RETRO_CONFIG) });
}

/** Opens an RPT model. */
async function openSelfReader(
  model: LanguageModel,
  folder: string,
  options: ChunkValues,
): Promise<ChunkWriter> {
  refuseOthers(withoutDefaults(RETRO_OPTIONS), options, {
    allowed: ['chunkNeighbours'],
    purpose: 'a model that retrieves from its own text',
  });
  const system = await openRptWriter(model, options, folder);
  return {
    ledger: system.ledger,
    ...{ maxTokens: undefined, takesPassages: true },
    generate: (prompt, settings) => system.generate(prompt, settings),
    dispose: () => system.dispose(),
  };
}

/** Opens a RETRO model over documents; undefined where none are given. */
async function openDocumentReader(
  model: LanguageModel,
  folder: string,
  options: ChunkValues,
  { io, isRetro }: { io: Io; isRetro: boolean },
): Promise<ChunkWriter | undefined> {
  if (options.passageData === undefined) {
    refuseOthers(RETRO_OPTIONS, options, { allowed: [], purpose: 'a text without --passage-data' });
    if (isRetro)
      io.log(
        'note: the model is read as its base: --passage-data FILE gives documents whose chunks are neighbours',
      );
    return undefined;
  }
  if (!isRetro) {
    throw new UsageError(`--passage-data: ${options.model} has no parts that read neighbours`, {
      help: 'train them by undrift lm train --method retro, or put passages in front of the text by --data',
    });
  }
  refuseOthers(PASSAGE_OPTIONS, options, { allowed: ['retriever'], purpose: 'neighbours of --passage-data' });
  const { system, dispose } = await openRetroSystem(model, options, {
    modelFolder: folder,
    onProgress: showProgress(io),
    onNote: showNotes(io),
    ...computeOptions(options),
  });
  io.finishProgress();
  return {
    ledger: system.ledger,
    ...{ maxTokens: model.decoder.maxTokens, takesPassages: false },
    generate: (prompt, settings) => system.generate(prompt, settings),
    dispose,
  };
}
