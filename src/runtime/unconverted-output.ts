import { fields } from '../onnx/fields.ts';
import { WireWriter } from '../onnx/wire.ts';

/*
 * onnxruntime-node copies every result into a new array after a run, also where it has just written it into a buffer that the
 * caller gave: 170 MB a step for a model of 10 M parameters, and as much garbage. It takes the outputs in order, and a sequence
 * is a kind that it cannot convert: a first output of that kind ends the run with an error when all buffers have been written and
 * nothing has been copied yet. A version that converts sequences, or that no longer copies, merely does not raise the error.
 */

/** Name of the extra output. */
export const UNCONVERTED = 'undrift/unconverted';

/** A piece of an ONNX model with an empty sequence as output. Protobuf joins pieces of a message that stand one after another. */
const PIECE = (() => {
  const model = new WireWriter();
  model.message(fields.model.graph, (graph) => {
    graph.message(fields.graph.nodes, (node) => {
      node.string(fields.node.outputs, UNCONVERTED);
      node.string(fields.node.opType, 'SequenceEmpty');
    });
    graph.message(fields.graph.outputs, (value) => value.string(fields.value.name, UNCONVERTED));
  });
  return model.finish();
})();

/** The model of `bytes` with the extra output before its own. */
export const withUnconvertedOutput = (bytes: Uint8Array): Uint8Array => Buffer.concat([PIECE, bytes]);

/** Whether a run ended because of the extra output, so that all others have been written. */
export const isUnconverted = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('Non tensor type is temporarily not supported');
