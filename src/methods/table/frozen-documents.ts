import type { ScoreTable } from '../../cache/score-table.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { MethodContext } from '../contract/method.ts';
import type { Candidates } from '../step/contrastive-step.ts';

const NAME = 'frozen';

/**
 * Documents of a retriever that is frozen. The rows of its table never age, so that a step reads the embeddings of its candidates there and
 * embeds only queries.
 */
export class FrozenDocuments {
  /** Candidates of a step. */
  static readonly candidates: Candidates = { embedded: false, fed: { [NAME]: 'f32' } };
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private nullPassage: Float32Array | undefined;

  constructor(context: MethodContext, table: ScoreTable) {
    this.context = context;
    this.table = table;
  }

  /**
   * Makes the inputs of a step.
   *
   * @param documents  documents that the table holds
   * @param of.nullPassage  whether the null passage comes after them; it is embedded once
   */
  async inputs(
    documents: Int32Array,
    { nullPassage }: { readonly nullPassage: boolean },
  ): Promise<Record<string, HostTensor>> {
    const { table } = this;
    const count = documents.length + Number(nullPassage);
    const embeddings = new Float32Array(count * table.dimension);
    embeddings.set(table.read(table.slotsOf(documents)));
    if (nullPassage) embeddings.set(await this.nothing(), documents.length * table.dimension);
    return { [NAME]: hostTensor('f32', [count, table.dimension], embeddings) };
  }

  /** Embeds the null passage, a document of empty text. */
  private async nothing(): Promise<Float32Array> {
    const { retriever, compute } = this.context;
    this.nullPassage ??= await retriever.encode('document', [''], compute);
    return this.nullPassage;
  }
}
