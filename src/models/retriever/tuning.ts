import { createHash } from 'node:crypto';
import type { Adapter } from '../../nn/lora.ts';
import type { ParameterSpec } from '../../nn/parameters.ts';
import type { Tuning } from '../../nn/tuning.ts';
import { bytesOf, elementCount } from '../../onnx/dtypes.ts';
import { UsageError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { Retriever, type Weights } from './retriever.ts';

/** Choice of the parameters that a run trains. Default all. */
export interface TuningOptions {
  /** Parts that are not trained (see `partMatcher`) and get no adapters. Default none. */
  freeze?: readonly string[];
  /** The only parts that are trained. Default all. */
  trainOnly?: readonly string[];
  /** Rank r of LoRA, ≥ 1: adapters are trained instead of the weights. Default: no LoRA. */
  lora?: number;
  /** LoRA's α: adapters are scaled by α / r. Default 2 r. */
  loraAlpha?: number;
  /** Seed of the initial adapters. Default 0. */
  seed?: number;
  /**
   * Linear layers that get adapters, by the ends of their names; `all-linear` for all. Default: queries and
   * values of the attention.
   */
  loraTargets?: readonly string[];
  /** Names of the options `lora` and `loraTargets` in messages, where the caller gave them by others. Default their own. */
  optionNames?: { readonly lora: string; readonly loraTargets: string };
}

const ALL_LINEAR = 'all-linear';

/**
 * Names of the attention's queries and values, or of the matrices that hold them, in the architectures of
 * Hugging Face.
 */
const QUERIES_AND_VALUES = [
  ...['query', 'value', 'q_lin', 'v_lin', 'attn.q', 'attn.v'],
  ...['q_proj', 'v_proj', 'attn.c_attn', 'attn.Wqkv'],
  ...['SelfAttention.q', 'SelfAttention.v', 'EncDecAttention.q', 'EncDecAttention.v'],
];

/**
 * Returns a retriever with the same weights of which a run trains only the chosen parameters. New weights,
 * such as a projection that the model did not have, are always trained.
 *
 * @param options.besideAnother  whether the run trains another model too, so that nothing of this one may be left to train. Default false
 * @throws UsageError when a part or target names nothing (the message lists the known names), or nothing is
 *   left to train
 */
export function tuned(
  retriever: Retriever,
  options: TuningOptions & { readonly besideAnother?: boolean },
): Retriever {
  const { config, tokenizer, weights, trainedSteps } = retriever;
  const { seed = 0 } = options;
  return new Retriever(config, tokenizer, {
    weights,
    trainedSteps,
    seed,
    tuning: planTuning(retriever, options),
  });
}

/**
 * Plans which parameters of a model a run trains.
 *
 * @param model.specs  parameters of the model
 * @param model.fresh  names of the parameters that have initial values: they are always trained
 * @param options.besideAnother  whether nothing may be left to train. Default false
 * @throws UsageError when a part or target names nothing (the message lists the known names), options contradict each other, or
 *   nothing is left to train
 */
export function planTuning(
  { specs, fresh }: { readonly specs: readonly ParameterSpec[]; readonly fresh: ReadonlySet<string> },
  options: TuningOptions & { readonly besideAnother?: boolean },
): Tuning {
  const { freeze = [], trainOnly = [], lora: rank, loraAlpha, loraTargets } = options;
  const { optionNames: by = { lora: 'lora', loraTargets: 'loraTargets' } } = options;
  if (rank === undefined && (loraAlpha !== undefined || loraTargets?.length)) {
    throw new UsageError(
      `${option(loraAlpha === undefined ? by.loraTargets : 'loraAlpha')} without ${option(by.lora)}`,
      {
        help: `give the rank of the adapters: ${option(by.lora, 8)}`,
      },
    );
  }
  if (rank !== undefined && trainOnly.length > 0) {
    throw new UsageError(`${option(by.lora)} and ${option('trainOnly')} both say what is trained`, {
      help: `with ${option(by.lora)} only adapters are; ${option('freeze')} and ${option(by.loraTargets)} say where there are some`,
    });
  }
  const names = specs.map(({ name }) => name);
  const kept = anyOf(freeze, names, 'freeze');
  const chosen = trainOnly.length > 0 ? anyOf(trainOnly, names, 'trainOnly') : () => true;
  const staysAsItIs = (name: string) =>
    !fresh.has(name) && (rank !== undefined || kept(name) || !chosen(name));
  const frozen = new Set(names.filter(staysAsItIs));
  if (rank === undefined) {
    if (frozen.size === names.length && !options.besideAnother) throw nothingLeft(names);
    return { frozen };
  }
  const adapted = targets(specs, loraTargets ?? [], by.loraTargets).filter(
    ({ name }) => frozen.has(name) && !kept(name),
  );
  if (adapted.length === 0) throw nothingLeft(names);
  const narrow = adapted.find(({ shape }) => shape.some((size) => size < rank));
  if (narrow) {
    throw new UsageError(
      `${option(by.lora, rank)} is more than ${narrow.name} [${narrow.shape.join(', ')}] has`,
      {
        help: `use ${Math.min(...narrow.shape)} or less; 4 to 32 is usual`,
      },
    );
  }
  const weights = new Set(adapted.map(({ name }) => name));
  return { frozen, lora: { rank, alpha: loraAlpha ?? 2 * rank, weights } };
}

/** Selects the matrices of the linear layers asked for by the option `by`. */
function targets(specs: readonly ParameterSpec[], asked: readonly string[], by: string): ParameterSpec[] {
  const linear = specs.filter((spec) => spec.linear);
  const module = ({ name }: ParameterSpec) => name.replace(/\.weight$/, '');
  // Names in a retriever begin with its tower; those in a language model begin anew.
  const isCalled = (end: string) => (spec: ParameterSpec) =>
    end === ALL_LINEAR || ['.', '/'].some((before) => `/${module(spec)}`.endsWith(before + end));
  const ends = asked.length > 0 ? asked : QUERIES_AND_VALUES;
  const missing = asked.find((end) => !linear.some(isCalled(end)));
  const found = linear.filter((spec) => ends.some((end) => isCalled(end)(spec)));
  if (missing !== undefined || found.length === 0) {
    const what =
      missing === undefined
        ? 'the model has no queries and values that LoRA would adapt by default'
        : `${option(by)}: no linear layer is called "${missing}"`;
    throw new UsageError(what, {
      help:
        linear.length > 0
          ? `linear layers: ${listed(linear.map(module))}; ${ALL_LINEAR} for all`
          : 'the model has no linear layers: train it whole, or freeze parts of it',
    });
  }
  return found;
}

/**
 * Makes a test for names in one of the parts.
 *
 * @throws UsageError when a part matches no name
 */
function anyOf(parts: readonly string[], names: readonly string[], asked: string) {
  const matchers = parts.map((part) => {
    const matches = partMatcher(part);
    if (!names.some(matches)) {
      throw new UsageError(`${option(asked)}: nothing in the model is "${part}"`, {
        help: `parameters: ${listed(names)}; or embeddings, layers:0-3, query and document for separate towers, all; * stands for anything`,
      });
    }
    return matches;
  });
  return (name: string) => matchers.some((matches) => matches(name));
}

/**
 * Matches the layer in parameter names of Hugging Face's architectures: `encoder.layer.3.…`, `layers.3.…`,
 * `h.3.…`
 */
const LAYER = /(?:^|\.)(?:layers?|h)\.(\d+)\./;

const EMBEDDINGS = /(?:^|\.)(?:embeddings?|embed_tokens|wte|wpe|token_logits)\./;

/**
 * Makes a test for the names in `Weights` that belong to a part of a model:
 *
 *     embeddings         tables of tokens, positions and types, and their norm
 *     layers:3           a layer, from 0
 *     layers:0-3         some layers, the last included
 *     query, document    one of two separate towers
 *     all                everything
 *     *.bias             parameters with this name in the weight file; `*` stands for anything
 */
export function partMatcher(part: string): (name: string) => boolean {
  const own = (name: string) => name.slice(name.indexOf('/') + 1);
  if (part === 'all') return () => true;
  if (part === 'embeddings') return (name) => EMBEDDINGS.test(own(name));
  if (part === 'query' || part === 'document') return (name) => name.startsWith(`${part}/`);
  const layers = /^layers:(\d+)(?:-(\d+))?$/.exec(part);
  if (layers) {
    const [first, last] = [Number(layers[1]), Number(layers[2] ?? layers[1])];
    return (name) => {
      const layer = LAYER.exec(own(name))?.[1];
      return layer !== undefined && Number(layer) >= first && Number(layer) <= last;
    };
  }
  const pattern = part.split('*').map((text) => text.replace(/[\\^$.+?()[\]{}|]/g, '\\$&'));
  const whole = new RegExp(`^${pattern.join('.*')}$`);
  return (name) => whole.test(own(name));
}

/** Lists names without their tower; layers with equal names are listed once, with N for their number. */
function listed(names: readonly string[]): string {
  const own = names.map((name) => name.slice(name.indexOf('/') + 1).replace(/\.\d+\./, '.N.'));
  return [...new Set(own)].join(', ');
}

const nothingLeft = (names: readonly string[]) =>
  new UsageError('nothing is left to train', {
    help: `freeze less; parameters: ${listed(names)}`,
  });

/** Model of which a run trains a part. */
interface TunedModel {
  readonly specs: readonly ParameterSpec[];
  readonly weights: Weights;
  readonly adapters: ReadonlyMap<string, Adapter>;
}

/** Describes the parameters that a run trains; undefined if it trains all. */
export function describeTuning({ specs, adapters, weights }: TunedModel): string | undefined {
  const trained = specs.filter(({ frozen }) => !frozen);
  if (trained.length === specs.length) return undefined;
  const numbers = (of: readonly ParameterSpec[]) =>
    count(of.reduce((sum, { shape }) => sum + elementCount(shape), 0));
  const [adapter] = adapters.values();
  const lora = adapter
    ? `; LoRA of rank ${weights[adapter.a]!.dims[0]} beside ${adapters.size} matrices, scaled by ${adapter.scale}`
    : '';
  return `trains ${numbers(trained)} of ${numbers(specs)} parameters${lora}`;
}

/** Tells whether a run trains nothing of a model. */
export const isFrozen = ({ specs }: Pick<TunedModel, 'specs'>): boolean =>
  specs.every(({ frozen }) => frozen);

/** Computes SHA-256 over the names and values that a run does not train; null if it trains all. */
export function frozenHash({ specs, weights }: Pick<TunedModel, 'specs' | 'weights'>): string | null {
  const frozen = specs.filter((spec) => spec.frozen);
  if (frozen.length === 0) return null;
  const hash = createHash('sha256');
  for (const { name } of frozen) hash.update(`${name}\n`).update(bytesOf(weights[name]!.data));
  return hash.digest('hex');
}
