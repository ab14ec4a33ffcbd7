import { Graph } from '../graph/graph.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { TokenFeeds } from '../models/retriever/token-feeds.ts';
import { decodeModel } from '../onnx/decode.ts';
import { encodeModel } from '../onnx/encode.ts';
import { float32, type HostTensor } from '../runtime/host-tensor.ts';
import { OnnxFile } from '../runtime/onnx-file.ts';
import { Program } from '../runtime/program.ts';
import { type PaddedBatch, padBatch } from '../text/pad-batch.ts';
import type { TokenStore } from '../text/token-store.ts';
import { f16ToF32 } from '../util/half.ts';
import { onnxFeeds } from './onnx-encoder.ts';
import { F32_TOLERANCE } from './tolerances.ts';

/** How near another program comes to what one of our layers gives. */
export interface LayerParity {
  /** 0 for what goes into the first layer, then what each layer gives. */
  readonly layer: number;
  /** The nearest value of the ONNX graph. */
  readonly value: string;
  /** max |theirs − ours| over the tokens of a text, over max(1, max |ours|). */
  readonly largestDifference: number;
  readonly differs: boolean;
}

/**
 * Where the layers of an ONNX file part from ours. The file may be anybody's: names of its values say nothing, so every value that it
 * computes becomes an output, and each of our layers is compared with the nearest one of its size, in the order of the graph.
 *
 * @param bytes  the file, weights included
 * @param rows  texts to compare on; few, since everything is kept
 * @returns  empty for encoders without layers
 * @throws DataError where the file cannot be read
 */
export async function layerParity(
  bytes: Uint8Array,
  {
    retriever,
    side,
    store,
    rows,
    name,
  }: { retriever: Retriever; side: Side; store: TokenStore; rows: Uint32Array; name: string },
): Promise<LayerParity[]> {
  const batch = padBatch(store, rows, { padId: retriever.padId });
  const ours = await ourLayers(retriever, side, batch);
  if (ours.length === 0) return [];
  const theirs = await allValues(bytes, name, batch, ours[0]!.length);
  const H = ours[0]!.length / batch.mask.length;
  const found: LayerParity[] = [];
  let from = 0;
  for (const [layer, expected] of ours.entries()) {
    let best = { index: -1, difference: Number.POSITIVE_INFINITY };
    for (let index = from; index < theirs.length; index++) {
      const difference = atTokens(theirs[index]!.data, expected, { mask: batch.mask, H });
      if (difference < best.difference) best = { index, difference };
    }
    const differs = !(best.difference <= F32_TOLERANCE);
    found.push({ layer, value: theirs[best.index]?.name ?? '', largestDifference: best.difference, differs });
    // What a later layer gives comes later; after layers that part there is no telling which is which.
    if (!differs) from = best.index + 1;
  }
  return found;
}

/** f32[B, T, H] of each layer. */
async function ourLayers(retriever: Retriever, side: Side, batch: PaddedBatch): Promise<Float32Array[]> {
  const { encoder } = retriever;
  const prefix = retriever.prefix(side);
  const graph = new Graph('layers');
  const p = retriever.declare(
    graph,
    retriever.specs.filter(({ name }) => name.startsWith(`${prefix}/`)),
  );
  const ids = graph.input('texts/ids', 'i64', ['texts', 'tokens']);
  const mask = graph.input('texts/mask', 'f32', ['texts', 'tokens']);
  let layers = 0;
  const embedding = encoder.embed(
    (name) => p.get(`${prefix}/${name}`),
    { ids, mask },
    { onLayer: (hidden) => graph.output(`layer.${layers++}`, hidden) },
  );
  if (layers === 0) return [];
  graph.output('embedding', embedding);
  const program = await Program.compile(graph);
  try {
    const feeds = new TokenFeeds(encoder.vocabSize).feeds({ texts: batch });
    const outputs = await program.run({ ...retriever.sideWeights(side), ...feeds });
    return Array.from({ length: layers }, (_, i) => float32(outputs[`layer.${i}`], `layer.${i}`));
  } finally {
    await program.dispose();
  }
}

/** Every floating-point value of a given size that the graph computes, in its order. */
async function allValues(bytes: Uint8Array, name: string, batch: PaddedBatch, elements: number) {
  const model = decodeModel(bytes, name);
  const values = model.graph.nodes.flatMap(({ outputs }) => outputs.filter((output) => output !== ''));
  const outputs = values.map((value) => ({ name: value }));
  const file = await OnnxFile.open(encodeModel({ ...model, graph: { ...model.graph, outputs } }), { name });
  try {
    const found = await file.run(onnxFeeds(file, batch));
    return values.flatMap((value) => {
      const data = floats(found[value]);
      return data?.length === elements ? [{ name: value, data }] : [];
    });
  } finally {
    await file.dispose();
  }
}

function floats(tensor: HostTensor | undefined): Float32Array | undefined {
  if (tensor?.dtype === 'f16') return f16ToF32(tensor.data as Uint16Array);
  return tensor?.dtype === 'f32' ? (tensor.data as Float32Array) : undefined;
}

/** What stands at padding is nobody's. */
function atTokens(
  theirs: Float32Array,
  ours: Float32Array,
  { mask, H }: { mask: Float32Array; H: number },
): number {
  let [largest, scale] = [0, 1];
  for (let t = 0; t < mask.length; t++) {
    if (mask[t] === 0) continue;
    for (let i = t * H; i < (t + 1) * H; i++) {
      const difference = Math.abs(theirs[i]! - ours[i]!);
      if (!(difference <= largest))
        largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
      scale = Math.max(scale, Math.abs(ours[i]!));
    }
  }
  return largest / scale;
}
