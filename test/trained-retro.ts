import type { RetroModel } from '../src/rlm/retro.ts';
import { float32 } from '../src/runtime/host-tensor.ts';
import { normal, rngKey } from '../src/util/rng.ts';

/** Sets the weights that RETRO adds to random values, as training would. */
export function trainedRetro(retro: RetroModel): RetroModel {
  for (const { name } of retro.wing.specs) {
    const data = float32(retro.weights[name]);
    normal(rngKey(5, 0, name), data);
    for (let i = 0; i < data.length; i++) data[i]! *= 0.5;
  }
  return retro;
}
