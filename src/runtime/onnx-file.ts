import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { type DType, dtypes } from '../onnx/dtypes.ts';
import { RuntimeError } from '../util/errors.ts';
import type { ComputeOptions } from './devices.ts';
import { type HostTensor, hostTensor } from './host-tensor.ts';
import { ORT_TYPES, toOrt } from './ort-tensor.ts';
import { sessionOptions } from './session-options.ts';

/** An ONNX file of any origin, ready to run. What it takes and gives is known by name alone; a `Program` is checked, and faster. */
export class OnnxFile {
  /** For messages. */
  readonly name: string;
  /** Names of what it takes and of what it gives. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  private readonly session: InferenceSession;

  private constructor(name: string, session: InferenceSession) {
    this.name = name;
    this.session = session;
    this.inputs = session.inputNames;
    this.outputs = session.outputNames;
  }

  /**
   * @param source  path or bytes
   * @param name  for messages
   * @throws RuntimeError when the runtime rejects it
   */
  static async open(
    source: string | Uint8Array,
    { name, ...compute }: ComputeOptions & { name: string },
  ): Promise<OnnxFile> {
    const options = sessionOptions(compute);
    try {
      // Two signatures of one function.
      const session =
        typeof source === 'string'
          ? await InferenceSession.create(source, options)
          : await InferenceSession.create(source, options);
      return new OnnxFile(name, session);
    } catch (cause) {
      throw OnnxFile.failure(name, 'onnxruntime does not load it', cause);
    }
  }

  /** @returns  the asked-for outputs of element types that we have, each in memory of its own */
  async run(
    feeds: Readonly<Record<string, HostTensor>>,
    outputs: readonly string[] = this.outputs,
  ): Promise<Record<string, HostTensor>> {
    const ortFeeds = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)]));
    let results: Readonly<Record<string, OrtTensor>>;
    try {
      results = await this.session.run(ortFeeds, outputs);
    } catch (cause) {
      throw OnnxFile.failure(this.name, 'it does not run', cause);
    }
    const found: Record<string, HostTensor> = {};
    for (const [name, { type, dims, data }] of Object.entries(results)) {
      const dtype = DTYPES.get(type);
      if (!dtype) continue;
      // Half precision comes as Float16Array where Node has one; ours are the bits.
      const { buffer, byteOffset, length } = data as Uint8Array<ArrayBuffer>;
      found[name] = hostTensor(dtype, dims, new dtypes[dtype].array(buffer, byteOffset, length));
    }
    return found;
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }

  private static failure(name: string, what: string, cause: unknown): RuntimeError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new RuntimeError(`${name}: ${what}: ${reason}`, { cause });
  }
}

const DTYPES = new Map(
  (Object.entries(ORT_TYPES) as [DType, OrtTensor.Type][])
    .filter(([dtype]) => dtype !== 'bf16')
    .map(([dtype, type]) => [type, dtype]),
);
