import type { DataInMemory } from '../../data/data-in-memory.ts';
import { isRecords, type Records } from '../../data/records.ts';
import {
  streamTextCorpus,
  type TextCorpusOptions,
  type TextDocument,
  textCorpusName,
} from '../../data/text-corpus.ts';
import { type TokenCorpus, tokenizeCorpus } from '../../data/token-corpus.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { type VocabularyOptions, VocabularyTrainer } from '../../text/train-vocabulary.ts';
import { DataError } from '../../util/errors.ts';
import { plural } from '../../util/format.ts';
import type { SpillFile } from '../../util/spill-file.ts';
import { chooseHeldOut, type HeldOutTexts } from './held-out-texts.ts';
import { NO_EVALUATION } from './options.ts';

/** Tokens of the texts of a run, and the rows of each side. */
export interface RunTokens {
  /** Tokens of the texts to train on. */
  readonly tokens: TokenCorpus['tokens'];
  /** Rows to train on. */
  readonly train: Int32Array;
  /** Tokens to evaluate on, and their rows; undefined for a run without evaluation. */
  readonly evaluation: { readonly tokens: TokenCorpus['tokens']; readonly rows: Int32Array } | undefined;
}

/** Corpus whose documents can be read several times. */
interface Source {
  readonly name: string;
  /** Reads the documents, with notes and progress where callbacks are given. */
  readonly documents: (
    callbacks?: Pick<TextCorpusOptions, 'onNote' | 'onProgress'>,
  ) => AsyncGenerator<TextDocument>;
}

/** Texts of a run: those to train on, and those to evaluate on. They are read again for each purpose, and never held as a whole. */
export class RunTexts {
  /** Name of the corpus to train on. */
  readonly name: string;
  /** Digest of the texts of both sides. */
  readonly fingerprint: string;
  /** Number of documents of the corpus to train on, those that are held out included. */
  readonly documents: number;
  readonly #train: Source;
  readonly #chosen: HeldOutTexts;
  readonly #evaluation: Source | 'held out' | undefined;
  readonly #onProgress: TextCorpusOptions['onProgress'];

  private constructor(
    train: Source,
    chosen: HeldOutTexts,
    {
      evaluation,
      fingerprint,
      onProgress,
    }: {
      evaluation: Source | 'held out' | undefined;
      fingerprint: string;
      onProgress: TextCorpusOptions['onProgress'];
    },
  ) {
    this.name = train.name;
    this.documents = chosen.documents;
    this.fingerprint = fingerprint;
    this.#train = train;
    this.#chosen = chosen;
    this.#evaluation = evaluation;
    this.#onProgress = onProgress;
  }

  /**
   * Reads the texts once, for their digest and for the choice of those that are held out.
   *
   * @param sources.evalData  texts to evaluate on; `none` for no evaluation; undefined to hold some texts out
   * @throws DataError with file and line for invalid texts, and where there is none
   */
  static async open(
    { data, evalData }: { data: string | DataInMemory; evalData: string | DataInMemory | undefined },
    options: TextCorpusOptions,
  ): Promise<RunTexts> {
    const train = await sourceOf(data, options);
    const chosen = await chooseHeldOut(train.documents(options), { holdOut: evalData === undefined });
    const { onProgress } = options;
    if (evalData === undefined || evalData === NO_EVALUATION) {
      const evaluation = evalData === undefined ? ('held out' as const) : undefined;
      return new RunTexts(train, chosen, { evaluation, fingerprint: chosen.fingerprint, onProgress });
    }
    const evaluation = await sourceOf(evalData, options);
    const other = await chooseHeldOut(evaluation.documents(options), { holdOut: false });
    const fingerprint = `${chosen.fingerprint}+${other.fingerprint}`;
    return new RunTexts(train, chosen, { evaluation, fingerprint, onProgress });
  }

  /**
   * Learns a vocabulary from the texts to train on. Default: byte-level BPE for a decoder.
   *
   * @throws UsageError where it is too small for the texts
   */
  async vocabulary(
    vocabSize: number,
    kind: Pick<VocabularyOptions, 'model' | 'purpose'> = { model: 'bpe', purpose: 'decoder' },
  ): Promise<ReturnType<VocabularyTrainer['finish']>> {
    const trainer = new VocabularyTrainer({ ...kind, vocabSize });
    let row = 0;
    for await (const document of this.#train.documents()) {
      const { train } = this.#chosen.split(document, row++);
      if (train) trainer.add(train.text);
      if (row % 256 === 0) this.#report('count words', row);
    }
    return trainer.finish();
  }

  /**
   * Tokenises the texts of both sides.
   *
   * @throws UndriftError that names a document which cannot be tokenised
   * @throws DataError where nothing is left to train on
   */
  async tokenize(tokenizer: Tokenizer, spill: SpillFile): Promise<RunTokens> {
    const train: number[] = [];
    const held: number[] = [];
    const split = this.#split(train, held);
    const onProgress = ({ done }: { done: number }) => this.#report('tokenise', done);
    const { tokens } = await tokenizeCorpus(split, tokenizer, { spill, onProgress });
    if (train.length === 0)
      throw new DataError('nothing is left to train on', { file: this.name, help: 'give more text' });
    const shared = { tokens, train: Int32Array.from(train) };
    if (this.#evaluation === undefined) return { ...shared, evaluation: undefined };
    if (this.#evaluation === 'held out') {
      const rows = Int32Array.from(held);
      return { ...shared, evaluation: rows.length === 0 ? undefined : { tokens, rows } };
    }
    const own = (await tokenizeCorpus(this.#evaluation.documents(), tokenizer, { spill })).tokens;
    return {
      ...shared,
      evaluation: { tokens: own, rows: Int32Array.from({ length: own.rows }, (_, i) => i) },
    };
  }

  /** Describes the texts that are held out; undefined where other texts are evaluated on, or none. */
  get heldOutNote(): string | undefined {
    if (this.#evaluation !== 'held out') return undefined;
    const { heldOut } = this.#chosen;
    return heldOut > 0
      ? `${plural(heldOut, 'document')} held out for evaluation, chosen by a hash of the text`
      : 'the end of each document is held out for evaluation';
  }

  /** Streams the parts of all documents, and notes the rows of each side. */
  async *#split(train: number[], held: number[]): AsyncGenerator<TextDocument> {
    let document = 0;
    let row = 0;
    for await (const each of this.#train.documents()) {
      const parts = this.#chosen.split(each, document++);
      if (parts.train) {
        train.push(row++);
        yield parts.train;
      }
      if (parts.held) {
        held.push(row++);
        yield parts.held;
      }
    }
  }

  #report(stage: string, done: number): void {
    this.#onProgress?.({ stage, done, total: Math.max(done, this.documents), unit: 'documents' });
  }
}

/** Makes a corpus that can be read several times. Of texts that come from a generator, a list is kept. */
async function sourceOf(
  data: string | DataInMemory,
  { columns, skipBadRows, maxLineBytes }: TextCorpusOptions,
): Promise<Source> {
  const isStream =
    typeof data === 'object' && 'texts' in data && isRecords(data.texts) && !Array.isArray(data.texts);
  const kept = isStream ? { ...data, texts: await listOf(data.texts) } : data;
  return {
    name: textCorpusName(data),
    documents: ({ onNote, onProgress } = {}) =>
      streamTextCorpus(kept, { columns, skipBadRows, maxLineBytes, onNote, onProgress }),
  };
}

async function listOf<T>(items: Records<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
