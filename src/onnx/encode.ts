import { UndriftError } from '../util/errors.ts';
import { checkDataSize, dtypes } from './dtypes.ts';
import { attributeCodes, fields } from './fields.ts';
import {
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValue,
  type UntypedValue,
  unknownShape,
} from './model.ts';
import { WireWriter } from './wire.ts';

/** Limit of the protobuf format: a message must stay below 2 GiB. */
const maximumBytes = 2 ** 31 - 1;

/**
 * Encodes a model as an ONNX file.
 *
 * Equal models give equal bytes: fields are written in the order of their numbers, records in their insertion order,
 * tensors as little-endian `raw_data`. Weights are copied once, into the result.
 *
 * @throws ShapeError if the size of a tensor's data does not match its dims and dtype.
 * @throws UndriftError if the model exceeds 2 GiB, or an integer attribute is not an integer.
 */
export function encodeModel(model: OnnxModel): Uint8Array {
  const writer = new WireWriter();
  writer.varint(fields.model.irVersion, model.irVersion);
  writer.string(fields.model.producerName, model.producerName);
  writer.string(fields.model.producerVersion, model.producerVersion);
  writer.message(fields.model.graph, (w) => writeGraph(w, model.graph));
  for (const [domain, version] of Object.entries(model.opsets)) {
    writer.message(fields.model.opsets, (w) => {
      w.string(fields.opset.domain, domain);
      w.varint(fields.opset.version, version);
    });
  }
  for (const [key, value] of Object.entries(model.metadata ?? {})) {
    writer.message(fields.model.metadata, (w) => {
      w.string(fields.entry.key, key);
      w.string(fields.entry.value, value);
    });
  }
  if (writer.length > maximumBytes) {
    throw new UndriftError(`the model has ${writer.length} bytes, an ONNX file at most ${maximumBytes}`, {
      help: 'feed the largest tensors as inputs instead of storing them as initializers',
    });
  }
  return writer.finish();
}

function writeGraph(writer: WireWriter, graph: OnnxGraph): void {
  for (const node of graph.nodes) writer.message(fields.graph.nodes, (w) => writeNode(w, node));
  writer.string(fields.graph.name, graph.name);
  for (const tensor of graph.initializers) {
    writer.message(fields.graph.initializers, (w) => writeTensor(w, tensor));
  }
  for (const value of graph.inputs) writer.message(fields.graph.inputs, (w) => writeValue(w, value));
  for (const value of graph.outputs) writer.message(fields.graph.outputs, (w) => writeValue(w, value));
  for (const value of graph.values ?? []) writer.message(fields.graph.values, (w) => writeValue(w, value));
}

function writeNode(writer: WireWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.string(fields.node.inputs, input);
  for (const output of node.outputs) writer.string(fields.node.outputs, output);
  if (node.name !== undefined) writer.string(fields.node.name, node.name);
  writer.string(fields.node.opType, node.opType);
  for (const [name, attribute] of Object.entries(node.attributes ?? {})) {
    writer.message(fields.node.attributes, (w) => writeAttribute(w, name, attribute));
  }
  if (node.docString !== undefined) writer.string(fields.node.docString, node.docString);
  if (node.domain !== undefined) writer.string(fields.node.domain, node.domain);
}

function writeAttribute(writer: WireWriter, name: string, attribute: OnnxAttribute): void {
  writer.string(fields.attribute.name, name);
  switch (attribute.kind) {
    case 'int':
      writer.varint(fields.attribute.int, attribute.value);
      break;
    case 'float':
      writer.float(fields.attribute.float, attribute.value);
      break;
    case 'string':
      writer.string(fields.attribute.string, attribute.value);
      break;
    case 'tensor':
      writer.message(fields.attribute.tensor, (w) => writeTensor(w, attribute.value));
      break;
    case 'graph':
      writer.message(fields.attribute.graph, (w) => writeGraph(w, attribute.value));
      break;
    case 'ints':
      for (const value of attribute.value) writer.varint(fields.attribute.ints, value);
      break;
    case 'floats':
      for (const value of attribute.value) writer.float(fields.attribute.floats, value);
      break;
    case 'strings':
      for (const value of attribute.value) writer.string(fields.attribute.strings, value);
      break;
  }
  writer.varint(fields.attribute.type, attributeCodes[attribute.kind]);
}

function writeTensor(writer: WireWriter, tensor: OnnxTensor): void {
  checkDataSize(`tensor '${tensor.name}'`, tensor);
  for (const dim of tensor.dims) writer.varint(fields.tensor.dims, dim);
  writer.varint(fields.tensor.dataType, dtypes[tensor.dtype].onnxCode);
  writer.string(fields.tensor.name, tensor.name);
  writer.bytes(fields.tensor.rawData, tensor.data);
}

function writeValue(writer: WireWriter, value: OnnxValue | UntypedValue): void {
  writer.string(fields.value.name, value.name);
  if (value.dtype === undefined) return;
  writer.message(fields.value.type, (type) => {
    type.message(fields.type.tensor, (tensor) => {
      tensor.varint(fields.tensorType.elementType, dtypes[value.dtype].onnxCode);
      if (value.shape.length === 1 && value.shape[0] === unknownShape[0]) return;
      tensor.message(fields.tensorType.shape, (shape) => {
        for (const dim of value.shape) {
          shape.message(fields.shape.dims, (w) => {
            if (typeof dim === 'number') w.varint(fields.dimension.value, dim);
            else if (dim !== '') w.string(fields.dimension.name, dim);
          });
        }
      });
    });
  });
}
