import { describe, expect, it } from 'vitest';
import { UsageError } from '../../util/errors.ts';
import { methods } from '../methods.ts';
import { LOSS_FORMS } from './loss-names.ts';
import { METHOD_OPTION_NAMES, type MethodOptions, resolveMethodOptions } from './method-options.ts';

/** A method that takes everything. */
const all = Object.assign({}, ...methods.map(({ options }) => options)) as Partial<MethodOptions>;

describe('resolveMethodOptions', () => {
  it('puts what was given over the defaults, and leaves out what was not', () => {
    const defaults = { samples: 2, refresh: 'never', cacheSize: 0 };
    expect(
      resolveMethodOptions(
        { id: 'm', options: defaults },
        { samples: 5, refresh: undefined, cacheSize: null },
      ),
    ).toEqual({
      samples: 5,
      refresh: 'never',
      cacheSize: 0,
    });
  });

  it('every option belongs to a method, and its default is a value that it may have', () => {
    expect(new Set(METHOD_OPTION_NAMES)).toEqual(new Set(Object.keys(all)));
    for (const method of methods)
      expect(resolveMethodOptions(method, method.options)).toEqual(method.options);
  });

  it.each([
    [{ loss: 'expectations' }, /unknown loss "expectations". Did you mean 'expectation'\?/],
    [{ loss: 'CoSENTLoss' }, /the method m has no loss cosent\n {2}help: --method scored-pairs has it; /],
    [{ loss: 3 }, /--loss must be one of multiple-negatives, symmetric, triplet, gist, margin-mse, kl, /],
    [{ margin: -1 }, /--margin must be a number of at least 0/],
    [{ distance: 'manhattan' }, /--distance must be one of cosine, euclidean/],
    [{ guide: 3 }, /--guide must be a model folder/],
    [{ teacherTemperature: 0 }, /--teacher-temperature must be a number above 0/],
    [{ matryoshka: [64, 0] }, /--matryoshka must be a list, each of it a whole number of at least 1/],
    [{ matryoshka: 64 }, /--matryoshka must be a list/],
    [{ matryoshkaWeights: [-1] }, /--matryoshka-weights must be a list, each of it a number of at least 0/],
    [{ sampler: 3 }, /--sampler must be one of/],
    [{ samples: 0 }, /--samples must be a whole number of at least 1, got 0/],
    [{ samples: 1.5 }, /--samples must be a whole number/],
    [{ samples: '4' }, /--samples must be a whole number of at least 1, got "4"/],
    [{ uniformSamples: -1 }, /--uniform-samples must be/],
    [{ absoluteMargin: Number.POSITIVE_INFINITY }, /--absolute-margin must be/],
    [{ relativeMargin: 1.1 }, /--relative-margin must be a number from 0 to 1/],
    [{ cacheSize: -1 }, /--cache-size must be/],
    [{ cacheStorage: 'bf16' }, /--cache-storage must be one of f32, f16/],
    [{ eviction: 'random' }, /--eviction must be/],
    [{ prefill: 'yes' }, /--prefill must be true or false/],
    [{ momentum: 1 }, /--momentum must be a number of at least 0 and below 1/],
    [{ momentum: Number.NaN }, /--momentum must be/],
    [{ positives: 'slow' }, /--positives must be one of momentum, fresh/],
    [{ mineFrom: '' }, /--mine-from must be/],
    [{ snapshotEvery: 0 }, /--snapshot-every must be/],
    [{ refresh: 'sometimes' }, /refresh policy "sometimes"/],
  ])('refuses %j', (given, message) => {
    const resolve = () => resolveMethodOptions({ id: 'm', options: all, losses: LOSS_FORMS }, given);
    expect(resolve).toThrow(message);
    expect(resolve).toThrow(UsageError);
  });
});
