import { fields } from '../onnx/fields.ts';
import { WireWriter } from '../onnx/wire.ts';

/*
 * onnxruntime-node copies every result into a new array after a run, even if it has just written the result into a
 * buffer of the caller. For a model of 10 M parameters this is 170 MB per step, and as much garbage. It converts the
 * outputs in order, and it cannot convert a sequence. With a sequence as the first output, the run ends with an error
 * after all buffers have been written and before anything is copied. A version that converts sequences, or no longer
 * copies, merely does not raise the error.
 */

/** Name of the extra output. */
export const UNCONVERTED = 'undrift/unconverted';

/**
 * Piece of an ONNX model with an empty sequence as output. Protobuf merges concatenated pieces of a message.
 */
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

/** Returns the ONNX bytes of a model with the extra output added before the model's own. */
export const withUnconvertedOutput = (bytes: Uint8Array): Uint8Array => Buffer.concat([PIECE, bytes]);

/** Returns whether a run ended because of the extra output. All other outputs have then been written. */
export const isUnconverted = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('Non tensor type is temporarily not supported');
