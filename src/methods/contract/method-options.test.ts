import { describe, expect, it } from 'vitest';
import { UsageError } from '../../util/errors.ts';
import { type OptionSpec, optionValues, pickOptions, withDefaults } from '../../util/option-table.ts';
import { methods } from '../methods.ts';
import { METHOD_OPTIONS } from '../options.ts';
import { LOSS_FORMS } from './loss-names.ts';
import { resolveMethodOptions } from './method-options.ts';

describe('resolveMethodOptions', () => {
  it('overrides defaults by given values, and takes undefined and null as not given', () => {
    const options = withDefaults(pickOptions(METHOD_OPTIONS, 'samples', 'refresh', 'cacheSize'), {
      samples: 2,
    });
    expect(
      resolveMethodOptions({ id: 'm', options }, { samples: 5, refresh: undefined, cacheSize: null }),
    ).toEqual({
      samples: 5,
      refresh: 'never',
      cacheSize: 0,
    });
  });

  it('has a method for every option, and defaults within range', () => {
    const taken = methods.flatMap(({ options }) => Object.keys(options));
    expect(new Set(taken)).toEqual(new Set(Object.keys(METHOD_OPTIONS)));
    for (const method of methods) {
      const defaults = optionValues(method.options, {});
      // An option of the method may have no default, such as a model to name.
      for (const [name, option] of Object.entries<OptionSpec>(method.options))
        if ('default' in option) expect((defaults as Record<string, unknown>)[name], name).toBeDefined();
      expect(resolveMethodOptions(method, defaults)).toEqual(defaults);
    }
  });

  it.each([
    [{ loss: 'expectations' }, /unknown loss "expectations". Did you mean 'expectation'\?/],
    [{ loss: 'CoSENTLoss' }, /the method m has no loss cosent\n {2}help: method: 'scored-pairs' has it; /],
    [{ loss: 3 }, /loss should be a text, found 3/],
    [{ margin: -1 }, /margin should be a number of at least 0, found -1/],
    [{ distance: 'manhattan' }, /distance should be one of cosine, euclidean, found "manhattan"/],
    [{ guide: 3 }, /guide should be a text, found 3/],
    [{ teacherTemperature: 0 }, /teacherTemperature should be a number above 0, found 0/],
    [{ matryoshka: [64, 0] }, /matryoshka should be a list of whole numbers of at least 1, found \[64,0\]/],
    [{ matryoshka: [64, 1.5] }, /matryoshka should be a list of whole numbers/],
    [{ matryoshka: 64 }, /matryoshka should be a list/],
    [{ matryoshkaWeights: [-1] }, /matryoshkaWeights should be a list of numbers of at least 0/],
    [{ sampler: 3 }, /sampler should be one of/],
    [{ samples: 0 }, /samples should be a whole number from 1 to 4,096, found 0/],
    [{ samples: 1.5 }, /samples should be a whole number/],
    [{ samples: '4' }, /samples should be a whole number from 1 to 4,096, found "4"/],
    [{ uniformSamples: -1 }, /uniformSamples should be/],
    [{ absoluteMargin: Number.POSITIVE_INFINITY }, /absoluteMargin should be .* found Infinity/],
    [{ relativeMargin: 1.1 }, /relativeMargin should be a number from 0 to 1/],
    [{ cacheSize: -1 }, /cacheSize should be/],
    [{ cacheStorage: 'bf16' }, /cacheStorage should be one of f32, f16/],
    [{ eviction: 'random' }, /eviction should be/],
    [{ prefill: 'yes' }, /prefill should be true or false/],
    [{ momentum: 1 }, /momentum should be a number of at least 0 and below 1/],
    [{ momentum: Number.NaN }, /momentum should be .* found NaN/],
    [{ positives: 'slow' }, /positives should be one of momentum, fresh/],
    [{ mineFrom: '' }, /mineFrom should be a text that is not empty/],
    [{ snapshotEvery: 0 }, /snapshotEvery should be/],
    [{ refresh: 'sometimes' }, /refresh policy "sometimes"/],
  ])('refuses %j', (given, message) => {
    const method = { id: 'm', options: METHOD_OPTIONS, losses: LOSS_FORMS };
    const resolve = () => resolveMethodOptions(method, given);
    expect(resolve).toThrow(message);
    expect(resolve).toThrow(UsageError);
  });
});
