/** Order in which retriever and language model are trained. */
export type TrainingOrder =
  | 'independent'
  | 'retriever, then language model'
  | 'language model, then retriever'
  | 'joint, asynchronous index'
  | 'joint, in batch';

/** Way of training or using a language model that retrieves. */
export interface RetrievalMethod {
  /** Name in the literature. */
  readonly name: string;
  readonly order: TrainingOrder;
  /** Parts that are trained. */
  readonly trained: string;
  /** State of the index, or of the memory, while it is trained. */
  readonly index: string;
  /** Command that trains; undefined where nothing is trained. */
  readonly train?: string;
  /** Command that reads or retrieves. */
  readonly use?: string;
  /** Paper with authors and year. */
  readonly paper: string;
}

/**
 * Ways of training and using retrieval with a language model, by the order in which the parts are trained.
 *
 * The orders are those of the tutorial "Retrieval-based Language Models and Applications" (Asai, Min, Zhong and Chen, ACL 2023), section 4.
 */
export const taxonomy: readonly RetrievalMethod[] = [
  {
    name: 'BM25, TF-IDF',
    order: 'independent',
    trained: 'nothing',
    index: 'built once',
    use: 'search --model bm25',
    paper: 'Robertson and Zaragoza 2009',
  },
  {
    name: 'DPR',
    order: 'independent',
    trained: 'retriever, on judged pairs',
    index: 'none: passages of the batch',
    train: 'train --method in-batch',
    use: 'search',
    paper: 'Karpukhin et al. 2020',
  },
  {
    name: 'Contriever',
    order: 'independent',
    trained: 'retriever, on crops of texts',
    index: 'none: a queue of recent crops',
    train: 'train --method crop --queue-size 4096',
    use: 'search',
    paper: 'Izacard et al. 2022',
  },
  {
    name: 'kNN-LM',
    order: 'independent',
    trained: 'nothing',
    index: 'datastore of tokens, built once',
    use: 'lm eval --method knn-lm',
    paper: 'Khandelwal et al. 2020',
  },
  {
    name: 'in-context RALM',
    order: 'independent',
    trained: 'nothing, or a reranker',
    index: 'built once',
    train: 'train --method cross-encoder',
    use: 'lm eval --method in-context',
    paper: 'Ram et al. 2023',
  },
  {
    name: 'REPLUG',
    order: 'independent',
    trained: 'nothing',
    index: 'built once',
    use: 'lm eval --method replug',
    paper: 'Shi et al. 2023',
  },
  {
    name: 'RETRO',
    order: 'retriever, then language model',
    trained: 'cross-attention and neighbour encoder',
    index: 'neighbours found beforehand',
    train: 'lm train --method retro',
    use: 'lm eval --method retro',
    paper: 'Borgeaud et al. 2022',
  },
  {
    name: 'REPLUG LSR',
    order: 'language model, then retriever',
    trained: 'retriever, by the likelihood of answers',
    index: 'stale, refreshed or corrected',
    train: 'train --method replug-lsr',
    use: 'lm eval --method replug',
    paper: 'Shi et al. 2023',
  },
  {
    name: 'REALM',
    order: 'joint, asynchronous index',
    trained: 'retriever and reader',
    index: 'stale, refreshed or corrected',
    train: 'lm train --method realm',
    use: 'lm eval --method realm',
    paper: 'Guu et al. 2020',
  },
  {
    name: 'Atlas',
    order: 'joint, asynchronous index',
    trained: 'retriever and reader, each with its loss',
    index: 'stale, refreshed or corrected',
    train: 'lm train --method atlas',
    use: 'lm eval --method atlas',
    paper: 'Izacard et al. 2023',
  },
  {
    name: 'TRIME',
    order: 'joint, in batch',
    trained: 'language model',
    index: 'none: tokens of the batch',
    train: 'lm train --method trime',
    use: 'lm eval --method trime',
    paper: 'Zhong et al. 2022',
  },
  {
    name: 'NPM',
    order: 'joint, in batch',
    trained: 'encoder, to find phrases in place of predicting them',
    index: 'none: tokens of the batch',
    train: 'lm train --method npm',
    use: 'lm fill',
    paper: 'Min et al. 2023',
  },
  {
    name: 'RPT',
    order: 'joint, in batch',
    trained: 'language model with the retriever inside it',
    index: 'none: earlier chunks of the text',
    train: 'lm train --method rpt',
    use: 'lm eval --method rpt',
    paper: 'Rubin and Berant 2023',
  },
];
