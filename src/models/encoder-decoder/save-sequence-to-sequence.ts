import { writeFolderAtomic } from '../../util/files.ts';
import { factLines, resultsSection, trainingSection, yamlList } from '../folder/card-sections.ts';
import { SEQUENCE_TO_SEQUENCE } from '../folder/undrift-json.ts';
import { checkReplaceable, writeFiles } from '../folder/write-towers.ts';
import { modelFacts } from '../language/language-model-card.ts';
import { modelFiles, type SaveLanguageModelOptions } from '../language/save-language-model.ts';
import type { SequenceToSequenceModel } from './sequence-to-sequence.ts';

/**
 * Writes a sequence-to-sequence model as a folder that Undrift and transformers (`AutoModelForSeq2SeqLM`) read:
 *
 *     config.json, model.safetensors      architecture and weights, under Hugging Face's names
 *     tokenizer.json, tokenizer_config.json, special_tokens_map.json
 *     generation_config.json              start and end tokens
 *     undrift.json, README.md             mark of a folder that may be replaced; the model card
 *
 * The folder is replaced as a whole: at every moment it holds the old model or the new one.
 *
 * @throws UndriftError when the folder exists and holds anything but a model of Undrift
 */
export async function saveSequenceToSequence(
  folder: string,
  model: SequenceToSequenceModel,
  { card = {}, trainedSteps = 0 }: SaveLanguageModelOptions = {},
): Promise<void> {
  await checkReplaceable(folder);
  const files = modelFiles(model, {
    kind: SEQUENCE_TO_SEQUENCE,
    trainedSteps,
    card: modelCard(model, trainedSteps, card),
  });
  await writeFolderAtomic(folder, async (temporary) => {
    await writeFiles(temporary, files);
  });
}

/** Writes the README of the folder: a Hugging Face model card, with the YAML head that the hub reads. */
function modelCard(
  model: SequenceToSequenceModel,
  trainedSteps: number,
  card: NonNullable<SaveLanguageModelOptions['card']>,
): string {
  const head = [
    '---',
    'library_name: transformers',
    ...yamlList('tags', ['undrift']),
    ...factLines(card),
    '---',
  ];
  const type = String(model.decoder.config.model_type);
  const sections = [
    head.join('\n'),
    `# ${card.name ?? 'Sequence-to-sequence model'}`,
    `An encoder-decoder (\`${type}\`) that writes a target text for one or several input texts. Saved by Undrift.`,
    modelFacts(model, trainedSteps),
    trainingSection({ trainedSteps }, card),
    resultsSection(card),
    USAGE,
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

const USAGE = `## Use

With Undrift:

\`\`\`ts
import { generateTargets, SequenceToSequenceModel } from 'undrift';

const model = await SequenceToSequenceModel.load('path/to/model');
const [answer] = await generateTargets(model, [['first passage', 'second passage']], { tokens: 20 });
\`\`\`

With transformers:

\`\`\`python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer, model = (x.from_pretrained("path/to/model") for x in (AutoTokenizer, AutoModelForSeq2SeqLM))
ids = model.generate(**tokenizer("input text", return_tensors="pt"), max_new_tokens=20)
print(tokenizer.decode(ids[0], skip_special_tokens=True))
\`\`\``;
