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

/** Agreement of another program with one layer of the retriever's encoder. */
export interface LayerParity {
  /** Number of the layer from 1; 0 is the input of the first layer. */
  readonly layer: number;
  /** Name of the nearest value in the ONNX graph. */
  readonly value: string;
  /** max |theirs − ours| / max(1, max |ours|), over the tokens of the texts. */
  readonly largestDifference: number;
  /** Whether the difference exceeds the tolerance of f32. */
  readonly differs: boolean;
}

/**
 * Compares the layers of an ONNX file with those of the retriever, to find the first that differs.
 *
 * The file may come from any program, and the names of its values carry no meaning. So every value of the
 * graph becomes an output, and each layer is compared with the nearest value of the same size, in graph
 * order.
 *
 * @param bytes  the file, weights included
 * @param rows  texts to compare on; few, since all values are kept in memory
 * @returns one entry per layer; empty for encoders without layers
 * @throws DataError when the file cannot be read
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
  const theirs = await allValues(bytes, {
    ...{ name, batch, elements: ours[0]!.length },
    unpooled: retriever.unpooledTokens(side),
  });
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
    // A later layer's output comes later in the graph. After a layer that differs, values can no longer be
    // assigned to layers.
    if (!differs) from = best.index + 1;
  }
  return found;
}

/** Computes the outputs of the retriever's layers, f32[B, T, H] each. */
async function ourLayers(retriever: Retriever, side: Side, batch: PaddedBatch): Promise<Float32Array[]> {
  const { encoder } = retriever;
  const prefix = retriever.prefix(side);
  const graph = new Graph('layers');
  const p = retriever.declare(graph, {
    specs: retriever.specs.filter(({ name }) => name.startsWith(`${prefix}/`)),
  });
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

/** Computes every floating-point value of a given size in the graph, in graph order. */
async function allValues(
  bytes: Uint8Array,
  {
    name,
    batch,
    elements,
    unpooled,
  }: { name: string; batch: PaddedBatch; elements: number; unpooled: number },
) {
  const model = decodeModel(bytes, name);
  const values = model.graph.nodes.flatMap(({ outputs }) => outputs.filter((output) => output !== ''));
  const outputs = values.map((value) => ({ name: value }));
  const file = await OnnxFile.open(encodeModel({ ...model, graph: { ...model.graph, outputs } }), { name });
  try {
    const found = await file.run(onnxFeeds(file, batch, unpooled));
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

/** Computes the largest relative difference over the tokens; values at padding are ignored. */
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
