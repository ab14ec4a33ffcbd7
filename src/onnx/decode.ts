import { type DType, dtypeByOnnxCode, dtypes, elementCount, type TypedArray, viewAs } from './dtypes.ts';
import { attributeCodes, fields } from './fields.ts';
import {
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValue,
  unknownShape,
} from './model.ts';
import { WireReader } from './wire.ts';

/**
 * Decodes an ONNX file.
 *
 * Tensors are views of `bytes` where their data is aligned, else copies. Fields that have no place in
 * `OnnxModel` and do not change the meaning of the graph (documentation, training information) are skipped.
 *
 * @param file name of the file, for error messages
 * @throws DataError if the bytes are damaged, or use a feature that is not supported: external weight files,
 *   string or sparse tensors, model-local functions, inputs that are not tensors.
 */
export function decodeModel(bytes: Uint8Array, file = 'ONNX model'): OnnxModel {
  const reader = new WireReader(bytes, file);
  const opsets: [string, number][] = [];
  const metadata: [string, string][] = [];
  let irVersion = 0;
  let producerName = '';
  let producerVersion = '';
  let graph: OnnxGraph | undefined;
  while (reader.next()) {
    switch (reader.field) {
      case fields.model.irVersion:
        irVersion = reader.varint();
        break;
      case fields.model.producerName:
        producerName = reader.string();
        break;
      case fields.model.producerVersion:
        producerVersion = reader.string();
        break;
      case fields.model.graph:
        graph = readGraph(reader.message());
        break;
      case fields.model.opsets:
        opsets.push(readOpset(reader.message()));
        break;
      case fields.model.metadata:
        metadata.push(readEntry(reader.message()));
        break;
      case fields.model.functions:
        throw reader.error('the model defines functions of its own, which we do not read');
      default:
        reader.skip();
    }
  }
  if (graph === undefined) throw reader.error('there is no graph: this is not an ONNX model');
  // fromEntries is safe for a key named __proto__; assignment is not.
  return {
    irVersion,
    opsets: Object.fromEntries(opsets),
    producerName,
    producerVersion,
    graph,
    ...(metadata.length > 0 && { metadata: Object.fromEntries(metadata) }),
  };
}

function readOpset(reader: WireReader): [domain: string, version: number] {
  let domain = '';
  let version = 0;
  while (reader.next()) {
    if (reader.field === fields.opset.domain) domain = reader.string();
    else if (reader.field === fields.opset.version) version = reader.varint();
    else reader.skip();
  }
  return [domain, version];
}

function readEntry(reader: WireReader): [key: string, value: string] {
  let key = '';
  let value = '';
  while (reader.next()) {
    if (reader.field === fields.entry.key) key = reader.string();
    else if (reader.field === fields.entry.value) value = reader.string();
    else reader.skip();
  }
  return [key, value];
}

function readGraph(reader: WireReader): OnnxGraph {
  const graph: OnnxGraph = { name: '', nodes: [], inputs: [], outputs: [], initializers: [] };
  const values: OnnxValue[] = [];
  while (reader.next()) {
    switch (reader.field) {
      case fields.graph.nodes:
        graph.nodes.push(readNode(reader.message()));
        break;
      case fields.graph.name:
        graph.name = reader.string();
        break;
      case fields.graph.initializers:
        graph.initializers.push(readTensor(reader.message()));
        break;
      case fields.graph.inputs:
        graph.inputs.push(knownValue(reader, readValue(reader.message())));
        break;
      case fields.graph.outputs:
        graph.outputs.push(knownValue(reader, readValue(reader.message())));
        break;
      case fields.graph.values: {
        // Types of intermediate values are hints, so a type without an equivalent here is left out.
        const { name, dtype, shape } = readValue(reader.message());
        if (dtype !== undefined) values.push({ name, dtype, shape });
        break;
      }
      case fields.graph.sparseInitializers:
        throw reader.error('the graph has sparse initializers, which we do not read');
      default:
        reader.skip();
    }
  }
  if (values.length > 0) graph.values = values;
  return graph;
}

function readNode(reader: WireReader): OnnxNode {
  const node: OnnxNode = { opType: '', inputs: [], outputs: [] };
  const attributes: [string, OnnxAttribute][] = [];
  while (reader.next()) {
    switch (reader.field) {
      case fields.node.inputs:
        node.inputs.push(reader.string());
        break;
      case fields.node.outputs:
        node.outputs.push(reader.string());
        break;
      case fields.node.name:
        node.name = reader.string();
        break;
      case fields.node.opType:
        node.opType = reader.string();
        break;
      case fields.node.attributes:
        attributes.push(readAttribute(reader.message()));
        break;
      case fields.node.docString:
        node.docString = reader.string();
        break;
      case fields.node.domain:
        node.domain = reader.string();
        break;
      default:
        reader.skip();
    }
  }
  if (node.opType === '') throw reader.error(`node '${node.name ?? ''}' has no operator`);
  if (attributes.length > 0) node.attributes = Object.fromEntries(attributes);
  return node;
}

type AttributeKind = OnnxAttribute['kind'];
const kindByCode = new Map(
  Object.entries(attributeCodes).map(([kind, code]) => [code as number, kind as AttributeKind]),
);

function readAttribute(reader: WireReader): [name: string, attribute: OnnxAttribute] {
  let name = '';
  let type = 0;
  /** Kind of the value that was found: files of IR version 1 do not state the type. */
  let present: AttributeKind | undefined;
  let number = 0;
  let string = '';
  const numbers: number[] = [];
  const strings: string[] = [];
  let tensor: OnnxTensor | undefined;
  let graph: OnnxGraph | undefined;
  while (reader.next()) {
    switch (reader.field) {
      case fields.attribute.name:
        name = reader.string();
        break;
      case fields.attribute.type:
        type = reader.varint();
        break;
      case fields.attribute.float:
        number = reader.float();
        present = 'float';
        break;
      case fields.attribute.int:
        number = reader.varint();
        present = 'int';
        break;
      case fields.attribute.string:
        string = reader.string();
        present = 'string';
        break;
      case fields.attribute.tensor:
        tensor = readTensor(reader.message());
        present = 'tensor';
        break;
      case fields.attribute.graph:
        graph = readGraph(reader.message());
        present = 'graph';
        break;
      case fields.attribute.floats:
        reader.floats(numbers);
        present = 'floats';
        break;
      case fields.attribute.ints:
        reader.varints(numbers);
        present = 'ints';
        break;
      case fields.attribute.strings:
        strings.push(reader.string());
        present = 'strings';
        break;
      default:
        reader.skip();
    }
  }
  const kind = type === 0 ? present : kindByCode.get(type);
  if (kind === undefined)
    throw reader.error(`attribute '${name}' has a type that we do not read (code ${type})`);
  // Writers may omit a value that equals its default, but never write a value of another kind.
  if (present !== undefined && present !== kind) {
    throw reader.error(`attribute '${name}' is declared ${kind} and holds ${present}`);
  }
  switch (kind) {
    case 'int':
    case 'float':
      return [name, { kind, value: number }];
    case 'string':
      return [name, { kind, value: string }];
    case 'ints':
    case 'floats':
      return [name, { kind, value: numbers }];
    case 'strings':
      return [name, { kind, value: strings }];
    case 'tensor':
      if (tensor === undefined) throw reader.error(`attribute '${name}' lacks its tensor`);
      return [name, { kind, value: tensor }];
    case 'graph':
      if (graph === undefined) throw reader.error(`attribute '${name}' lacks its graph`);
      return [name, { kind, value: graph }];
  }
}

function readTensor(reader: WireReader): OnnxTensor {
  const dims: number[] = [];
  let name = '';
  let code = 0;
  let raw: Uint8Array | undefined;
  const numbers: number[] = [];
  const bigints: bigint[] = [];
  while (reader.next()) {
    switch (reader.field) {
      case fields.tensor.dims:
        reader.varints(dims);
        break;
      case fields.tensor.dataType:
        code = reader.varint();
        break;
      case fields.tensor.name:
        name = reader.string();
        break;
      case fields.tensor.rawData:
        raw = reader.bytes();
        break;
      case fields.tensor.floatData:
        reader.floats(numbers);
        break;
      case fields.tensor.doubleData:
        reader.doubles(numbers);
        break;
      case fields.tensor.int32Data:
      case fields.tensor.uint64Data:
        reader.varints(numbers);
        break;
      case fields.tensor.int64Data:
        reader.bigints(bigints);
        break;
      case fields.tensor.dataLocation:
        if (reader.varint() !== 0) {
          throw reader.error(`the data of tensor '${name}' lies in another file, which we do not read`);
        }
        break;
      default:
        reader.skip();
    }
  }
  const dtype = dtypeByOnnxCode.get(code);
  if (dtype === undefined) throw reader.error(`tensor '${name}' has the unsupported element type ${code}`);
  if (dims.some((dim) => dim < 0)) throw reader.error(`tensor '${name}' has the shape [${dims}]`);
  const size = dtypes[dtype].bytes;
  const found = raw ? raw.byteLength / size : numbers.length + bigints.length;
  if (found !== elementCount(dims)) {
    throw reader.error(
      `tensor '${name}' of type ${dtype} and shape [${dims}] needs ${elementCount(dims)} elements, found ${found}`,
    );
  }
  if (raw) return { name, dtype, dims, data: viewAs(dtype, raw, 0, found) };
  return { name, dtype, dims, data: arrayOf(reader, dtype, name, numbers, bigints) };
}

/** Builds a tensor's data from the number lists that ONNX allows in place of raw bytes. */
function arrayOf(
  reader: WireReader,
  dtype: DType,
  name: string,
  numbers: number[],
  bigints: bigint[],
): TypedArray {
  if ((dtype === 'i64' ? numbers : bigints).length > 0) {
    throw reader.error(`tensor '${name}' of type ${dtype} holds numbers of another type`);
  }
  return dtype === 'i64' ? BigInt64Array.from(bigints) : dtypes[dtype].array.from(numbers);
}

/** Graph value whose element type may be unsupported (`dtype` undefined). */
interface FoundValue {
  name: string;
  dtype: DType | undefined;
  shape: readonly (number | string)[];
}

function readValue(reader: WireReader): FoundValue {
  const value: FoundValue = { name: '', dtype: undefined, shape: unknownShape };
  while (reader.next()) {
    if (reader.field === fields.value.name) value.name = reader.string();
    else if (reader.field === fields.value.type) readType(reader.message(), value);
    else reader.skip();
  }
  return value;
}

function knownValue(reader: WireReader, { name, dtype, shape }: FoundValue): OnnxValue {
  if (dtype === undefined) throw reader.error(`'${name}' is not a tensor of an element type that we read`);
  return { name, dtype, shape };
}

function readType(reader: WireReader, value: FoundValue): void {
  while (reader.next()) {
    if (reader.field === fields.type.tensor) {
      const tensor = reader.message();
      while (tensor.next()) {
        if (tensor.field === fields.tensorType.elementType)
          value.dtype = dtypeByOnnxCode.get(tensor.varint());
        else if (tensor.field === fields.tensorType.shape) value.shape = readShape(tensor.message());
        else tensor.skip();
      }
    } else reader.skip();
  }
}

function readShape(reader: WireReader): (number | string)[] {
  const shape: (number | string)[] = [];
  while (reader.next()) {
    if (reader.field === fields.shape.dims) {
      const dimension = reader.message();
      let dim: number | string = '';
      while (dimension.next()) {
        if (dimension.field === fields.dimension.value) dim = dimension.varint();
        else if (dimension.field === fields.dimension.name) dim = dimension.string();
        else dimension.skip();
      }
      shape.push(dim);
    } else reader.skip();
  }
  return shape;
}
