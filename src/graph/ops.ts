/** @file Operations on tensors: the vocabulary in which layers, losses and optimizers are written. */
export * from './ops/causal-attention.ts';
export * from './ops/elementwise.ts';
export * from './ops/indexing.ts';
export * from './ops/matmul.ts';
export * from './ops/memory-log-sums.ts';
export * from './ops/reduce.ts';
export * from './ops/shape.ts';
export * from './ops/token-log-likelihood.ts';
