/**
 * @file The library: what `undrift` does on the command line, as functions; and the engine below them.
 *
 *     import { evaluateBm25, evaluateRetriever, loadData, loadRetriever, trainRetriever } from 'undrift';
 */

/** Data: loading it, and building the quick-start set. */

export { type ApiDocs, type ApiDocsOptions, buildApiDocs } from './data/api-docs.ts';
export { Corpus, CorpusBuilder, type CorpusRecord } from './data/corpus.ts';
export type { GradedRowLists, Qrels, RowLists, TrainingExamples } from './data/examples.ts';
export { loadCorpus, loadData } from './data/load.ts';
export type { LoadOptions } from './data/load-options.ts';
export { readQrels } from './data/qrels.ts';
export type { RetrievalData } from './data/retrieval-data.ts';
export { loadScoredPairs } from './data/scored-pairs.ts';

/** Training: data to a model folder. */

export { methods } from './methods/methods.ts';
export { type LoggedEvent, readEventLog } from './train/event-log.ts';
export type { TableRefresh } from './train/refresh-history.ts';
export type { TrainOptions, TrainSettings } from './train/settings.ts';
export {
  InterruptedError,
  type TrainCallbacks,
  type TrainResult,
  trainRetriever,
} from './train/train-retriever.ts';

/** The parts that methods over cached embeddings are made of: table, masks, samplers, losses, refresh, diagnostics. */

export { diagnoseTable, staleness, type TableDiagnosis } from './cache/diagnostics.ts';
export { type Divergence, divergenceBounds, softmaxDivergence } from './cache/divergence.ts';
export { ageHistogram, inspectTable } from './cache/inspect-table.ts';
export { duplicateMap, type MaskedSlots, maskKnownPositives, mergeMasks } from './cache/masks.ts';
export { parseRefreshPolicy, type RefreshPolicy } from './cache/refresh-policy.ts';
export { type Sample, type Sampler, sampleSlots } from './cache/samplers.ts';
export { ScoreTable, type ScoreTableOptions } from './cache/score-table.ts';
export { TableDistribution } from './cache/table-distribution.ts';
export { TableScores } from './cache/table-scores.ts';
export { expectation } from './losses/expectation.ts';
export { importanceCorrected } from './losses/importance-corrected.ts';
export { marginMse } from './losses/margin-mse.ts';
export type { NegativeScores } from './losses/negative-scores.ts';
export { pairwise } from './losses/pairwise.ts';
export { truncatedSoftmax } from './losses/truncated-softmax.ts';

/** Retrievers: text in, vectors out; made new, loaded, saved. */

export { type FindModelOptions, findModel } from './models/folder/find-model.ts';
export {
  type LoadOptions as LoadRetrieverOptions,
  loadRetriever,
  type SaveOptions,
  saveRetriever,
} from './models/folder/model-folder.ts';
export { createRetriever, type NewRetrieverOptions } from './models/retriever/create-retriever.ts';
export { embeddingSpaceId } from './models/retriever/embedding-space.ts';
export {
  type EncodeOptions,
  Retriever,
  type RetrieverConfig,
  type Side,
} from './models/retriever/retriever.ts';

/** Language models: the next token's logits as a graph function, continuations, likelihoods of texts. */

export { nextTokenLogProbabilities, nextTokenLoss } from './losses/next-token.ts';
export { Decoder } from './models/language/decoder.ts';
export { LanguageModel, type ScoredTokens, type TextLikelihood } from './models/language/language-model.ts';

/** Search: dense by brute force, and BM25. */

export {
  type Bm25RetrieveOptions,
  buildBm25,
  type DenseRetrieveOptions,
  encodeCorpus,
  type RetrievalTask,
  retrievalTask,
  retrieve,
  retrieveBm25,
} from './retrieval/retrieve.ts';
export { ExactIndex, type ExactIndexOptions } from './search/exact-search.ts';
export type { SearchIndex, SearchOptions, SearchResult } from './search/search-index.ts';
export { Bm25, type Bm25Options, type Bm25Result, bm25Terms } from './text/bm25.ts';

/** Correctors: where stale vectors would be now; between two models, what that recovers of a full re-embedding. */

export type { Corrector, CorrectorBatch, CorrectorKind, EmbeddingPairs } from './correctors/corrector.ts';
export {
  type CorrectorDescription,
  loadCorrector,
  type StoredCorrector,
  saveCorrector,
} from './correctors/corrector-folder.ts';
export type { CorrectorOptions } from './correctors/corrector-options.ts';
export { createCorrector } from './correctors/create-corrector.ts';
export { type ErrorSplit, errorSplit } from './correctors/error-split.ts';
export { type FitOptions, fitCorrector } from './correctors/fit-corrector.ts';
export {
  type Correction,
  type CorrectionOptions,
  type CorrectionReport,
  type Direction,
  measureCorrection,
} from './migration/measure-correction.ts';

/** Mining: hard negatives, by whoever ranks. */

export type { CandidateRules } from './mining/candidate-filter.ts';
export {
  bm25Candidates,
  type CandidateSource,
  denseCandidates,
  runCandidates,
} from './mining/candidate-source.ts';
export {
  type MinedBlock,
  type MiningOptions,
  type MiningTask,
  mineNegatives,
} from './mining/mine-negatives.ts';
export { type MinableQueries, minableQueries, pairLines } from './mining/mined-pairs.ts';
export { MiningStatistics } from './mining/mining-statistics.ts';

/** Evaluation: metrics, run and qrels files, significance. All that needs no retriever is in `undrift/eval` too. */

export { type EvaluateOptions, type Evaluation, evaluate } from './eval/metrics.ts';
export { writeQrelsFile } from './eval/qrels-file.ts';
export type { Run, ScoredDocument } from './eval/ranking.ts';
export { formatComparison, formatMetrics } from './eval/report.ts';
export { readRunFile, writeRunFile } from './eval/run-file.ts';
export { type CompareOptions, compareRuns, type RunComparison } from './eval/significance.ts';
export { evaluateBm25, evaluateRetriever, type RetrieverEvaluation } from './retrieval/evaluate-retriever.ts';
export { evaluateScoredPairs } from './retrieval/evaluate-scored-pairs.ts';

/** Text: tokenizers and vocabularies. */

export { TokenStore } from './text/token-store.ts';
export { Tokenizer } from './text/tokenizer.ts';
export { trainVocabulary, type VocabularyOptions } from './text/train-vocabulary.ts';

/** The engine: graphs of symbolic tensors, their gradients, and programs that run them. */

export { backward } from './grad/backward.ts';
export { Graph } from './graph/graph.ts';
export * as ops from './graph/ops.ts';
export { printGraph } from './graph/print.ts';
export type { Tensor } from './graph/tensor.ts';
export { toOnnx } from './graph/to-onnx.ts';
export { angle, angleSimilarity } from './losses/angle.ts';
export { cosent } from './losses/cosent.ts';
export { cosineSimilarity } from './losses/cosine-similarity.ts';
export { cosines, distances, pairCosines } from './losses/distances.ts';
export { type BatchSimilarities, gist } from './losses/gist.ts';
export { klDistillation } from './losses/kl-distillation.ts';
export { type MatryoshkaSize, matryoshka } from './losses/matryoshka.ts';
export { softmaxCrossEntropy } from './losses/softmax-cross-entropy.ts';
export { symmetricSoftmax } from './losses/symmetric-softmax.ts';
export { triplet } from './losses/triplet.ts';
export { decodeModel } from './onnx/decode.ts';
export { encodeModel } from './onnx/encode.ts';
export type { OnnxModel } from './onnx/model.ts';
export { adamw } from './optim/adamw.ts';
export { lion } from './optim/lion.ts';
export type { Optimizer } from './optim/optimizer.ts';
export { sgd } from './optim/sgd.ts';
export { bundledDevices, type ComputeOptions, type Device } from './runtime/devices.ts';
export { type HostTensor, hostTensor } from './runtime/host-tensor.ts';
export { Learner } from './runtime/learner.ts';
export { Program } from './runtime/program.ts';

/** Files and errors. */

export { openNpy, openNpyWriter, readNpy, writeNpy } from './io/npy.ts';
export { openSafetensors, readSafetensors, writeSafetensors } from './io/safetensors.ts';
export { DataError, RuntimeError, ShapeError, UndriftError, UsageError } from './util/errors.ts';
