/**
 * Library of `undrift`: its commands as functions, and the engine below them.
 *
 *     import { evaluateBm25, evaluateRetriever, loadData, loadRetriever, trainRetriever } from 'undrift';
 *
 * @module undrift
 */

/** Data: loading data sets, and building the one of the quick start. */

export type { AnswersOf } from './data/answers.ts';
export {
  type ApiDocs,
  type ApiDocsOptions,
  buildApiDocs,
  type Split as ApiDocsSplit,
} from './data/api-docs.ts';
export { COLUMNS, type Column, type Role } from './data/columns.ts';
export { Corpus, CorpusBuilder, type CorpusOptions, type CorpusRecord } from './data/corpus.ts';
export type {
  AnswersRecord,
  DataInMemory,
  JudgedData,
  JudgementRecord,
  PairData,
  ScoredPairData,
  ScoredPairRecord,
  TextData,
  TextRecord,
} from './data/data-in-memory.ts';
export { loadCorpus, loadQueries } from './data/documents.ts';
export type { GradedRowLists, Qrels, RowLists, TrainingExamples } from './data/examples.ts';
export type { LineOptions } from './data/lines.ts';
export { loadData } from './data/load.ts';
export type { GivenDocuments, LoadOptions } from './data/load-options.ts';
export {
  type OptionalPairField,
  PAIR_FIELDS,
  type PairField,
  type PairRecord,
  type Passage,
} from './data/pairs.ts';
export { readQrels } from './data/qrels.ts';
export type { Records } from './data/records.ts';
export type { RetrievalData } from './data/retrieval-data.ts';
export { loadScoredPairs } from './data/scored-pairs.ts';
export {
  comparableText,
  type DuplicateMap,
  duplicateMap,
  type SideTexts,
  TextIdentity,
  type TokenRows,
} from './data/text-identity.ts';

/** Training: from data to a model folder, with methods and losses of the library or your own. */

export type {
  BatchTokens,
  HeldOutMeasure,
  HeldOutQuery,
  Method,
  MethodContext,
  MethodOptionValues,
  RunningMethod,
  RunPlan,
  TrainingBatch,
  TrainingPairs,
} from './methods/contract/method.ts';
export type { PartOpening, TrainedPart } from './methods/contract/trained-part.ts';
export { methods } from './methods/methods.ts';
export type { MethodOptions } from './methods/options.ts';
export { type BatchMethodSpec, batchMethod, type MaskedBatch } from './methods/step/batch-method.ts';
export { candidateSoftmax } from './methods/step/candidate-softmax.ts';
export { type Candidates, type ContrastiveResult, ContrastiveStep } from './methods/step/contrastive-step.ts';
export { allowedCandidates } from './methods/step/known-positives.ts';
export type { LossParts, ScoredBatch, ScoreLoss } from './methods/step/score-loss.ts';
export { CostLedger } from './objective/cost-ledger.ts';
export { defineObjective, type Objective, type StepResult } from './objective/objective.ts';
export type { Temperature } from './objective/temperature.ts';
export {
  type Baseline,
  InterruptedError,
  type ReportedStep,
  type TrainCallbacks,
} from './train/callbacks.ts';
export { type Checkpoint, type RunIdentity, readCheckpoint } from './train/checkpoint.ts';
export { type LoggedEvent, readEventLog } from './train/event-log.ts';
export type { BatchSource, StepReport } from './train/loop.ts';
export type { TableRefresh } from './train/refresh-history.ts';
export { type RunResult, runTraining } from './train/run.ts';
export type { OptionalSetting, TrainOptions, TrainSettings } from './train/settings.ts';
export type { RunOptions, RunParts, Subject } from './train/subject.ts';
export { type TrainResult, trainRetriever } from './train/train-retriever.ts';
export {
  type ChoiceOption,
  type GivenOptions,
  type GivenValues,
  type IntegerOption,
  type ListOption,
  type MapOption,
  type NumberBase,
  type NumbersOption,
  type OptionBase,
  type OptionSpec,
  type OptionTable,
  type OptionValue,
  type OptionValues,
  optionValues,
  pickOptions,
  type RealOption,
  type SwitchOption,
  type TextOption,
  withDefaults,
} from './util/option-table.ts';
export type { SpillFile } from './util/spill-file.ts';

/** Parts of methods over cached embeddings: table, masks, samplers, losses, refresh, diagnostics. */

export { CellIndex, type CellIndexOptions } from './cache/cell-index.ts';
export {
  CorrectedDistribution,
  type CorrectedDrawsReport,
  type RowCorrection,
  type SlotDistribution,
} from './cache/corrected-distribution.ts';
export type { DiagnosisInput } from './cache/diagnosis-passes.ts';
export {
  diagnoseTable,
  staleness,
  type TableDiagnosis,
} from './cache/diagnostics.ts';
export {
  type Divergence,
  type DivergenceBounds,
  divergenceBounds,
  softmaxDivergence,
} from './cache/divergence.ts';
export type { GradientBias } from './cache/gradient-bias.ts';
export { IndexedDistribution, type SearchReport } from './cache/indexed-distribution.ts';
export { type AgeBin, ageHistogram, inspectTable } from './cache/inspect-table.ts';
export type { KeptScores } from './cache/kept-scores.ts';
export {
  type MaskedSlots,
  maskKnownPositives,
  mergeMasks,
} from './cache/masks.ts';
export { type AutoRefresh, parseRefreshPolicy, type RefreshPolicy } from './cache/refresh-policy.ts';
export {
  type Sample,
  type SampleKey,
  type SampleRequest,
  type Sampler,
  sampleSlots,
} from './cache/samplers.ts';
export type { Cell as ScoreCell } from './cache/score-picks.ts';
export { ScoreTable, type ScoreTableOptions } from './cache/score-table.ts';
export { type SampledSlots, TableDistribution } from './cache/table-distribution.ts';
export { type ScoreSums, TableScores, type TableScoresOptions, type TopSlots } from './cache/table-scores.ts';
export {
  type CandidateMarginal,
  candidateMarginal,
  MARGINALS,
  type Marginal,
  posteriorDivergence,
} from './losses/candidate-marginal.ts';
export { expectation } from './losses/expectation.ts';
export { importanceCorrected } from './losses/importance-corrected.ts';
export { type GradedCandidates, lambdaRank } from './losses/lambda-rank.ts';
export { marginMse } from './losses/margin-mse.ts';
export { marginalLikelihood } from './losses/marginal-likelihood.ts';
export type { NegativeScores } from './losses/negative-scores.ts';
export { pairwise } from './losses/pairwise.ts';
export { truncatedSoftmax } from './losses/truncated-softmax.ts';

/** Retrievers: encoders that turn texts into vectors; created, loaded, saved. */

export type {
  Architecture,
  CacheShape,
  CrossAttentionListener,
  CrossAttentionOptions,
  CrossDecoder,
  EncoderWeights,
  FoldedParameters,
  ForwardOptions,
  Hidden,
  KeyValueCache,
  LayerMemory,
  ReadStates,
  TokenInputs,
} from './models/architectures/architecture.ts';
export { shareEncoding, type WorkerOptions } from './models/background/encode-workers.ts';
export type { CardDataset, CardFacts, CardResult } from './models/folder/card-sections.ts';
export { type FindModelOptions, findModel } from './models/folder/find-model.ts';
export type { ModelCard } from './models/folder/model-card.ts';
export { type SaveOptions, saveRetriever } from './models/folder/model-folder.ts';
export { type LoadRetrieverOptions, loadRetriever } from './models/folder/open-retriever.ts';
export { createRetriever, type NewRetrieverOptions } from './models/retriever/create-retriever.ts';
export { embeddingSpaceId } from './models/retriever/embedding-space.ts';
export { ENCODE_DTYPES, type EncodeDtype } from './models/retriever/encode-dtype.ts';
export type { Encoder, EncoderConfig } from './models/retriever/encoder.ts';
export type { EncoderInputs } from './models/retriever/encoder-inputs.ts';
export {
  type EncodeOptions,
  Retriever,
  type RetrieverConfig,
  type Side,
  type TokenizeOptions,
  type Weights as RetrieverWeights,
} from './models/retriever/retriever.ts';
export type { RowSharing } from './models/retriever/row-sharing.ts';
export type { StoredEmbeddings } from './models/retriever/stored-embeddings.ts';
export { type PaddedTokens, TokenFeeds, wholeTableFeeds } from './models/retriever/token-feeds.ts';
export { type TokenInputOptions, tokenInputs } from './models/retriever/token-inputs.ts';
export type { KeyValues } from './nn/attention.ts';
export type { ChunkNeighbours } from './nn/chunked-cross-attention.ts';

/** Cross-encoders: models that score a query and a document together, to rerank what a search has found. */

export { crossEncoderCheck, type NegativeCheck } from './mining/negative-check.ts';
export type { ClassificationHead, HeadInputs } from './models/cross-encoder/classification-head.ts';
export {
  CrossEncoder,
  type CrossEncoderConfig,
  type RankedDocument,
  type ScoreActivation,
  type ScoreOptions,
  type TextPair,
  type TokenPair,
} from './models/cross-encoder/cross-encoder.ts';
export type { CrossEncoderCard } from './models/cross-encoder/cross-encoder-card.ts';
export {
  type LoadCrossEncoderOptions,
  loadCrossEncoder,
} from './models/cross-encoder/load-cross-encoder.ts';
export { type PairTexts, PairTokens } from './models/cross-encoder/pair-tokens.ts';
export { saveCrossEncoder } from './models/cross-encoder/save-cross-encoder.ts';
export { type RerankOptions, rerankRun } from './retrieval/rerank.ts';
export type { PaddedPairs, PairEncoder } from './text/pair-encoder.ts';
export type { CrossEncoderTrainOptions } from './train/cross-encoder/options.ts';
export type { CrossEncoderSettings } from './train/cross-encoder/settings.ts';
export {
  type CrossEncoderTrainResult,
  trainCrossEncoder,
} from './train/cross-encoder/train-cross-encoder.ts';

/** Export of models for other programs, and a check that these compute the same vectors. */

export {
  type ExportedLanguageFile,
  exportLanguageModel,
  LANGUAGE_FORMATS,
  type LanguageExportOptions,
  type LanguageExportReport,
  type LanguageFormat,
} from './export/export-language-model.ts';
export {
  type ExportedFile,
  type ExportOptions,
  type ExportReport,
  exportModel,
} from './export/export-model.ts';
export type { LayerParity } from './export/layer-parity.ts';
export {
  type ClientParity,
  measureParity,
  type ParityOptions,
  type ParityReport,
  type SideParity,
} from './export/measure-parity.ts';
export type { TokenParity } from './export/token-parity.ts';

/** Comparison: several ways of training, each on the same budget. */

export { compare } from './compare/compare.ts';
export {
  type ArmConfig,
  type ArmOptions,
  BUDGET_KINDS,
  type Budget,
  type BudgetKind,
  type ComparisonConfig,
  type EvaluationPlan,
} from './compare/comparison.ts';
export type { Fields } from './compare/config-reader.ts';
export type { Curve } from './compare/curves.ts';
export { compareLanguageSystems } from './compare/language/compare-language-systems.ts';
export type { LanguageComparisonConfig } from './compare/language/comparison.ts';
export type {
  LanguageComparisonCallbacks,
  LanguageComparisonOptions,
} from './compare/language/run-comparison.ts';
export type { Machine } from './compare/machine.ts';
export type {
  ArmResults,
  ArmSettings,
  ComparisonResults,
  DataFacts,
  MeasuredRun,
  PairedTest,
  RunFailure,
  RunSummary,
  UnitNoun,
} from './compare/results.ts';
export type { ComparisonCallbacks, ComparisonOptions } from './compare/run-comparison.ts';
export type {
  RunEvaluation,
  RunResult as ComparedRun,
  RunSettings,
  RunTraining,
} from './compare/run-result.ts';
export type { Spread } from './compare/statistics.ts';

/** Language models: the next token's logits as a graph function, continuations, likelihoods of texts. */

export {
  type MemorySoftmaxOptions,
  memorySoftmaxLoss,
  type TokenMemoryInputs,
} from './losses/memory-softmax.ts';
export { type MultiPositiveTargets, multiPositiveSoftmax } from './losses/multi-positive-softmax.ts';
export {
  hiddenNextTokenLoss,
  hiddenTokenLogProbabilities,
  type NextTokenLossOptions,
  nextTokenLogProbabilities,
  nextTokenLoss,
  tokenLogProbabilities,
} from './losses/next-token.ts';
export {
  type PhraseLoss,
  type PhraseLossOptions,
  type PhraseStates,
  type PhraseTargets,
  phraseLoss,
} from './losses/phrase-loss.ts';
export {
  LAYER_STATES,
  type LayerState,
  type LayerStateListener,
} from './models/architectures/layer-states.ts';
export { type ChatMessage, type ChatPromptOptions, chatPrompt } from './models/language/chat-template.ts';
export {
  createLanguageModel,
  NEW_LANGUAGE_MODELS,
  type NewLanguageModel,
  type NewLanguageModelOptions,
} from './models/language/create-language-model.ts';
export { Decoder, type ModelConfig, TOKEN_STATES, type TokenState } from './models/language/decoder.ts';
export {
  type GenerationOptions,
  generate,
  generateMany,
  generateText,
  type Prompt,
} from './models/language/generate.ts';
export { GENERATION_OPTIONS } from './models/language/generation-options.ts';
export type { Generation } from './models/language/generation-rows.ts';
export {
  LanguageModel,
  type ScoreTokensOptions,
  type TextLikelihood,
} from './models/language/language-model.ts';
export type { LanguageModelCard } from './models/language/language-model-card.ts';
export { languageModelId } from './models/language/language-model-id.ts';
export type { LanguageSettings } from './models/language/language-settings.ts';
export {
  LanguageTeacher,
  type LanguageTeacherOptions,
  READER_SCORES,
  type ReaderScore,
  type TeacherScores,
} from './models/language/language-teacher.ts';
export {
  type PromptTexts,
  type PromptTokens,
  QUESTION_PROMPT,
  ReaderPrompt,
} from './models/language/reader-prompt.ts';
export { type SaveLanguageModelOptions, saveLanguageModel } from './models/language/save-language-model.ts';
export type { IndexedTokenScores, ScoredTokens, TokenScores } from './models/language/score-tokens.ts';
export { TokenModel } from './models/language/token-model.ts';
export { PackedWindows, type PackingOptions, type WindowBatch } from './text/packed-windows.ts';
export type { LanguageModelTrainOptions } from './train/language-model/options.ts';
export type { LanguageModelSettings } from './train/language-model/settings.ts';
export {
  type LanguageModelTrainResult,
  trainLanguageModel,
} from './train/language-model/train-language-model.ts';

/** Sequence-to-sequence models: targets written for one or several inputs (Fusion-in-Decoder). */

export {
  createSequenceToSequence,
  FEED_FORWARDS,
  type NewSequenceToSequenceOptions,
} from './models/encoder-decoder/create-sequence-to-sequence.ts';
export {
  EncoderDecoder,
  type EncoderStates,
  type SequenceOptions,
} from './models/encoder-decoder/encoder-decoder.ts';
export { generateTargets, type SequenceInput } from './models/encoder-decoder/generate-targets.ts';
export { saveSequenceToSequence } from './models/encoder-decoder/save-sequence-to-sequence.ts';
export {
  type SequenceBatch,
  type SequenceBatchNames,
  type SequenceExample,
  sequenceBatch,
  sequenceFeeds,
} from './models/encoder-decoder/sequence-batch.ts';
export { SequenceToSequenceModel } from './models/encoder-decoder/sequence-to-sequence.ts';

/** Masked language models: tokens predicted from masks. */

export {
  createMaskedLanguageModel,
  type NewMaskedLanguageModelOptions,
} from './models/masked/create-masked-language-model.ts';
export { MaskedLanguageModel } from './models/masked/masked-language-model.ts';
export { MaskedNetwork } from './models/masked/masked-network.ts';
export { CLOZE_PROMPT, MaskedPrompt, type MaskedPromptModel } from './models/masked/masked-prompt.ts';
export { saveMaskedLanguageModel } from './models/masked/save-masked-language-model.ts';
export type { MaskedSequence } from './models/masked/score-masked.ts';
export type { PairPart } from './text/pair-template.ts';

/** Retrieval-based language models: passages and their sources, and systems that score text with them. */

export { type ClozeData, type ClozeOptions, writeCloze } from './data/cloze.ts';
export { type ContinuationData, type ContinuationOptions, writeContinuations } from './data/continuations.ts';
export type { CutData } from './data/cut-texts.ts';
export { type SpanData, type SpanOptions, writeSpans } from './data/spans.ts';
export { streamTextCorpus, type TextCorpusOptions, type TextDocument } from './data/text-corpus.ts';
export { type TokenCorpus, type TokenCorpusOptions, tokenizeCorpus } from './data/token-corpus.ts';
export {
  type PassagePrompt,
  type PassagePromptOptions,
  type PromptPassage,
  passagePrompt,
  passagesBefore,
} from './models/language/passage-prompt.ts';
export type { MaskedEncoder } from './models/retriever/masked-encoder.ts';
export {
  type AnswerResults,
  answerQuestions,
} from './rlm/answer-questions.ts';
export { type BuildDatastoreOptions, buildDatastore, type DatastoreBuild } from './rlm/build-datastore.ts';
export {
  CHUNK_RETRIEVALS,
  type ChunkChoice,
  type ChunkRetrieval,
  gradedChunks,
  randomChunks,
  similarChunks,
} from './rlm/chunk-choice.ts';
export { type Chunk, ChunkDatabase } from './rlm/chunk-database.ts';
export {
  type ChunkGrader,
  type ChunkGrades,
  lexicalGrader,
  ReferenceGrader,
  type ReferenceGraderOptions,
} from './rlm/chunk-grades.ts';
export { NEIGHBOUR_PARTS, type NeighbourPart } from './rlm/chunk-neighbours.ts';
export { ChunkedText } from './rlm/chunked-text.ts';
export type { DatastoreManifest, DatastoreSettings } from './rlm/datastore-files.ts';
export type { RecallOptions } from './rlm/datastore-options.ts';
export {
  evaluateMaskedFill,
  type MaskedFillEvaluation,
  type MaskedFillOptions,
} from './rlm/evaluate-masked-fill.ts';
export {
  evaluatePhrases,
  type FoundSpan,
  PHRASE_EVALUATION_OPTIONS,
  type PhraseChoiceOptions,
  type PhraseEvaluation,
  type PhraseEvaluationOptions,
  PhraseEvaluator,
} from './rlm/evaluate-npm.ts';
export {
  countScoredTokens,
  type DocumentLikelihood,
  type EvaluateTextOptions,
  evaluateText,
  type TextEvaluation,
} from './rlm/evaluate-text.ts';
export { type InContextOptions, inContextSystem } from './rlm/in-context.ts';
export {
  type KnnLmOptions,
  type KnnLmWeights,
  knnLmSystem,
} from './rlm/knn-lm.ts';
export { type TuneKnnLmOnOptions, tuneKnnLmOn } from './rlm/knn-lm-spec.ts';
export type {
  AnsweredQuestion,
  LanguageSystem,
  Question,
  Reading,
  ScoreOptions as SystemScoreOptions,
  Segment,
} from './rlm/language-system.ts';
export { type LeakFilter, type LeakRules, leakFilter, type PassageQuery } from './rlm/leak-filter.ts';
export { loadPassages } from './rlm/load-passages.ts';
export type { SpanMatch, SpanMeasures } from './rlm/masked-spans.ts';
export {
  type FilledPhrase,
  type FillOptions,
  type MaskedSpan,
  PhraseIndex,
  type PhraseIndexOptions,
} from './rlm/npm.ts';
export type { PassageFrontOptions, Stretch } from './rlm/passage-front.ts';
export {
  bm25Source,
  denseSource,
  type FoundPassages,
  goldSource,
  type PassageSource,
  randomSource,
} from './rlm/passage-source.ts';
export { documentByPrefix, type Passages, passagesOf } from './rlm/passages.ts';
export { plainSystem } from './rlm/plain-system.ts';
export { questionsOf } from './rlm/questions.ts';
export { type MixedMemory, mixLogProbabilities, RecalledTokens } from './rlm/recalled-tokens.ts';
export { Recaller, type RecallerOptions, type SegmentRecall } from './rlm/recaller.ts';
export { type ReplugOptions, replugSystem } from './rlm/replug.ts';
export { type RerankerList, type RerankerListOptions, rerankerLists } from './rlm/reranker-lists.ts';
export { crossEncoderReranker, type PassageReranker, RERANKERS, type RerankerName } from './rlm/rerankers.ts';
export { loadRetro, openRetro, RetroModel, saveRetro } from './rlm/retro.ts';
export {
  NEIGHBOUR_CHOICES,
  type NeighbourChoice,
  type RetroReading,
  RetroSystem,
} from './rlm/retro-system.ts';
export { type PassMemory, type PieceMemory, type RetroConfig, RetroWing } from './rlm/retro-wing.ts';
export { loadRpt, openRpt, RptModel, saveRpt } from './rlm/rpt.ts';
export type { RptConfig } from './rlm/rpt-config.ts';
export { type ChosenNeighbours, type RptReading, RptSystem } from './rlm/rpt-system.ts';
export {
  type NewChunks,
  type PastChunks,
  type RptFound,
  type RptInputs,
  type RptPassMemory,
  RptWing,
} from './rlm/rpt-wing.ts';
export { stateSource } from './rlm/state-source.ts';
export type { ControlArm, SystemContext, SystemSpec } from './rlm/system-spec.ts';
export { findSystem, systems } from './rlm/systems.ts';
export type { TextWindows } from './rlm/text-windows.ts';
export {
  type NearestTokens,
  type OpenDatastoreOptions,
  TokenDatastore,
  type TokenMemory,
  type TokenSearchOptions,
  type TokenSimilarity,
} from './rlm/token-datastore.ts';
export { type TrimeMemories, type TrimeOptions, type TrimeWeights, trimeSystem } from './rlm/trime.ts';
export {
  type KnnLmTuning,
  type TunedWeights,
  type TuneKnnLmOptions,
  tuneKnnLm,
} from './rlm/tune-knn-lm.ts';
export {
  type TrimeTuning,
  type TunedTrimeWeights,
  type TuneTrimeOptions,
  tuneTrime,
} from './rlm/tune-trime.ts';
export { evaluateJointRun } from './train/language-methods/evaluate-joint.ts';
export type { MaskedTrainOptions } from './train/masked/options.ts';
export type { MaskedSettings } from './train/masked/settings.ts';
export { type MaskedTrainResult, trainMasked } from './train/masked/train-masked.ts';
export type { NpmTrainOptions } from './train/npm/options.ts';
export type { NpmSettings } from './train/npm/settings.ts';
export { type NpmTrainResult, trainNpm } from './train/npm/train-npm.ts';
export type { RetroTrainOptions } from './train/retro/options.ts';
export { type RetroTrainResult, trainRetro } from './train/retro/train-retro.ts';
export type { RptTrainOptions } from './train/rpt/options.ts';
export { type RptTrainResult, trainRpt } from './train/rpt/train-rpt.ts';
export type { TrimeTrainOptions } from './train/trime/options.ts';
export { trainTrime } from './train/trime/train-trime.ts';

/** Search: dense by brute force, and by words with BM25 and TF-IDF. */

export { encodeCorpus } from './retrieval/encode-corpus.ts';
export type { SplitOptions } from './retrieval/evaluate-retriever.ts';
export { PAIR_METRICS } from './retrieval/evaluate-scored-pairs.ts';
export { readVectors, type StoredVectors, type WantedVectors } from './retrieval/read-vectors.ts';
export {
  buildLexicalIndex,
  type DenseRetrieveOptions,
  type LexicalRetrieveOptions,
  type RetrievalTask,
  retrievalTask,
  retrieve,
  retrieveLexical,
} from './retrieval/retrieve.ts';
export type { AppliedCorrector, VectorManifest, VectorSettings } from './retrieval/vector-manifest.ts';
export {
  openVectorWriter,
  type VectorOrigin,
  type VectorWriter,
  writeVectors,
} from './retrieval/write-vectors.ts';
export type { RowRange } from './search/block-search.ts';
export { ExactIndex, type ExactIndexOptions } from './search/exact-search.ts';
export type { SearchIndex, SearchOptions, SearchResult } from './search/search-index.ts';
export { Bm25, type Bm25Options } from './text/bm25.ts';
export { bm25Terms, type TermOptions } from './text/index-terms.ts';
export type { IndexingOptions } from './text/indexing-options.ts';
export { InvertedIndex, type QueryTerm, type RankedRows, type Weighting } from './text/inverted-index.ts';
export { LEXICAL_RANKERS, type LexicalOptions, type LexicalRanker } from './text/lexical-rankers.ts';
export type { RowOrder } from './text/row-heap.ts';
export type { TermIds } from './text/term-ids.ts';
export type { TermPostings } from './text/term-postings.ts';
export { TfIdf, type TfIdfOptions } from './text/tfidf.ts';

/** Correctors: maps from stale vectors to current ones, and how close they come to re-embedding a corpus with a new model. */

export type { Corrector, CorrectorBatch, CorrectorKind, EmbeddingPairs } from './correctors/corrector.ts';
export { CORRECTOR_KINDS } from './correctors/corrector.ts';
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
export { DIRECTIONS, type Direction } from './migration/correction-options.ts';
export {
  type Correction,
  type CorrectionOptions,
  type CorrectionReport,
  type ModelFacts,
  measureCorrection,
} from './migration/measure-correction.ts';
export type { Gap, Quality } from './migration/search-quality.ts';

/** Mining: hard negatives from the ranking of BM25, TF-IDF, an encoder, or a run file. */

export type { CandidateRules, Ranking, REASONS, Reason as RemovalReason } from './mining/candidate-filter.ts';
export {
  type CandidateSource,
  denseCandidates,
  lexicalCandidates,
  runCandidates,
  type SourceTexts,
} from './mining/candidate-source.ts';
export {
  type MinedBlock,
  type MiningOptions,
  type MiningTask,
  mineNegatives,
} from './mining/mine-negatives.ts';
export { type MinableQueries, minableQueries, pairLines } from './mining/mined-pairs.ts';
export { MINABLE_OPTIONS, PAIR_OPTIONS } from './mining/mining-options.ts';
export { MiningStatistics } from './mining/mining-statistics.ts';

/** Evaluation: metrics, run and qrels files, significance. Everything that needs no retriever is in `undrift/eval` too. */

export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type Qrels as EvaluationQrels,
} from './eval/metrics.ts';
export { writeQrelsFile } from './eval/qrels-file.ts';
export type { Run, ScoredDocument } from './eval/ranking.ts';
export { formatComparison, formatMetrics, type NamedMetrics } from './eval/report.ts';
export {
  type RunEntries,
  type RunFormat,
  readRunFile,
  type WriteRunOptions,
  writeRunFile,
} from './eval/run-file.ts';
export {
  type CompareOptions,
  compareRuns,
  type Interval as ConfidenceInterval,
  type PairedTTest,
  type RandomisationTest,
  type RunComparison,
} from './eval/significance.ts';
export {
  evaluateBm25,
  evaluateLexical,
  evaluateRetriever,
  type RetrieverEvaluation,
} from './retrieval/evaluate-retriever.ts';
export { evaluateScoredPairs } from './retrieval/evaluate-scored-pairs.ts';

/** Text: tokenizers and vocabularies. */

export type { TokenFrame } from './text/crops.ts';
export {
  type TokenArray,
  TokenStore,
  TokenStoreBuilder,
  type TokenStoreBuilderOptions,
  type TokenStoreOptions,
} from './text/token-store.ts';
export { type SpecialIds, type TextPart, Tokenizer } from './text/tokenizer.ts';
export type {
  AddedTokenJson,
  BpeJson,
  ComponentJson,
  TokenizerJson,
  UnigramJson,
  WordLevelJson,
  WordPieceJson,
} from './text/tokenizer-json.ts';
export { trainVocabulary, type VocabularyOptions } from './text/train-vocabulary.ts';

/** The engine: graphs of symbolic tensors, their gradients, and programs that run them. */

export { backward } from './grad/backward.ts';
export type { Dim } from './graph/dims.ts';
export { Graph, type NodeSegment } from './graph/graph.ts';
export type { LoweringOptions } from './graph/onnx-writer.ts';
export type { None as NoAttributes, OpAttributes, OpType } from './graph/op-types.ts';
export * as ops from './graph/ops.ts';
export { printGraph } from './graph/print.ts';
export type { GraphNode, Tensor, TensorSource } from './graph/tensor.ts';
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
export { KL_DIRECTIONS, type KlDirection, teacherDivergence } from './losses/teacher-divergence.ts';
export { triplet } from './losses/triplet.ts';
export { type DenseActivation, type DenseLayer, denseActivations } from './nn/dense.ts';
export type { Adapter } from './nn/lora.ts';
export {
  type DeclaredParameters,
  declareParameters,
  type GraphPlace,
  type Initializer,
  initialValue,
  type ParameterSpec,
  type Parameters as ParameterTensors,
} from './nn/parameters.ts';
export type { Packing } from './nn/text-rows.ts';
export type { Tuning } from './nn/tuning.ts';
export { decodeModel } from './onnx/decode.ts';
export type { DType, dtypes, TypedArray, TypedArrayOf } from './onnx/dtypes.ts';
export { encodeModel } from './onnx/encode.ts';
export type {
  OnnxAttribute,
  OnnxGraph,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxValue,
  UntypedValue,
} from './onnx/model.ts';
export { type AdamWOptions, adamw } from './optim/adamw.ts';
export { lion } from './optim/lion.ts';
export type { Optimizer, StepNumbers } from './optim/optimizer.ts';
export type { ScheduleName } from './optim/schedule.ts';
export { sgd } from './optim/sgd.ts';
export type { DeviceModel } from './runtime/device-model.ts';
export {
  bundledDevices,
  type ComputeOptions,
  type Device,
  type Precision,
  type ProgramPrecision,
} from './runtime/devices.ts';
export { type GradientMemory, type Gradients, gradientsIn, outputGradients } from './runtime/gradients.ts';
export { float32, type HostTensor, hostTensor, scalarValue } from './runtime/host-tensor.ts';
export { joinParameters, type ModelParameters } from './runtime/join-parameters.ts';
export {
  Learner,
  type LearnerOptions,
  type ParameterGroup,
  type UpdateOptions,
} from './runtime/learner.ts';
export type { LossScale } from './runtime/loss-scale.ts';
export {
  type Feeds,
  type MemoryListener,
  type MemoryNeed,
  Program,
  type ProgramOptions,
  type ProgramSignature,
} from './runtime/program.ts';

/** Files, errors, and the type of progress reports. */

export { type NpyReader, type NpyWriter, openNpy, openNpyWriter, readNpy, writeNpy } from './io/npy.ts';
export {
  openSafetensors,
  readSafetensors,
  type SafetensorsReader,
  writeSafetensors,
} from './io/safetensors.ts';
export type { LoadedTensor, TensorData } from './io/tensor-data.ts';
export {
  DataError,
  type MarkedMessage,
  OutOfMemoryError,
  type Place,
  RuntimeError,
  ShapeError,
  UndriftError,
  UsageError,
} from './util/errors.ts';
export type { NoteListener } from './util/option-name.ts';
export type { Progress } from './util/progress.ts';
export { normal, permutation, type RngKey, rngKey, uniform } from './util/rng.ts';

/** Stores of passages and vectors. */

export * from './cluster.ts';
export {
  EXCHANGE_FORMATS,
  type ExchangeFormat,
  type ExchangeRow,
  type ExchangeSource,
  formatOf,
} from './exchange/exchange-row.ts';
export {
  databaseVectors,
  type ExportSourceOptions,
  type ExportVectorsOptions,
  exportVectors,
  storeVectors,
} from './exchange/export-vectors.ts';
export {
  type ImportCounts,
  type ImportVectorsOptions,
  importToDatabase,
  importVectors,
} from './exchange/import-vectors.ts';
export { type PlacedRow, readRows } from './exchange/read-rows.ts';
export {
  backfillVectors,
  countMissing,
  cutOverVectors,
  embedRows,
  planVectorMigration,
  rollBackVectors,
  startVectorMigration,
  type VectorBackfillOptions,
  type VectorMigrationOptions,
} from './foreign/migrate-vectors.ts';
export {
  type PostgresAddress,
  type PostgresNames,
  parsePostgresAddress,
} from './foreign/postgres-address.ts';
export { type PostgresHit, PostgresVectors } from './foreign/postgres-vectors.ts';
export type { OriginalModel } from './foreign/sample-rows.ts';
export type { OwnedSqlClient, SqlClient } from './foreign/sql-client.ts';
export {
  type VectorMigrationReport,
  type VectorReportOptions,
  vectorMigrationReport,
} from './foreign/vector-report.ts';
export {
  ORIGINAL,
  type ReadRequest,
  type StampedVector,
  type StoredFiles,
  type VectorMigration,
  type VectorRow,
  type VectorStore,
  type VectorStoreFacts,
  type VectorStoreState,
  type WrittenSpace,
  type WrittenVector,
} from './foreign/vector-store.ts';
export * from './store.ts';
