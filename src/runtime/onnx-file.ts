import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { type DType, dtypes } from '../onnx/dtypes.ts';
import { RuntimeError } from '../util/errors.ts';
import type { ComputeOptions } from './devices.ts';
import { type HostTensor, hostTensor } from './host-tensor.ts';
import { ORT_TYPES, toOrt } from './ort-tensor.ts';
import { sessionOptions } from './session-options.ts';

/**
 * ONNX file of any origin, loaded for running.
 *
 * Only the names of its inputs and outputs are known. A `Program` checks shapes and is faster.
 */
export class OnnxFile {
  /** Name for messages. */
  readonly name: string;
  /** Names of the inputs. */
  readonly inputs: readonly string[];
  /** Names of the outputs. */
  readonly outputs: readonly string[];
  private readonly session: InferenceSession;

  private constructor(name: string, session: InferenceSession) {
    this.name = name;
    this.session = session;
    this.inputs = session.inputNames;
    this.outputs = session.outputNames;
  }

  /**
   * Loads an ONNX file.
   *
   * @param source path or bytes of the file
   * @param options.name name for messages
   * @throws RuntimeError if onnxruntime rejects the file.
   */
  static async open(
    source: string | Uint8Array,
    { name, ...compute }: ComputeOptions & { name: string },
  ): Promise<OnnxFile> {
    const options = sessionOptions(compute);
    try {
      // `create` has two overloads, and a union type matches neither.
      const session =
        typeof source === 'string'
          ? await InferenceSession.create(source, options)
          : await InferenceSession.create(source, options);
      return new OnnxFile(name, session);
    } catch (cause) {
      throw OnnxFile.failure(name, 'onnxruntime does not load it', cause);
    }
  }

  /**
   * Runs the model.
   *
   * @param feeds tensors for the inputs
   * @param outputs names of the outputs to compute, default all
   * @returns the outputs, each in its own memory; those with an unsupported element type are left out
   * @throws RuntimeError if the run fails.
   */
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
      // Half-precision data arrives as Float16Array where Node has it. Here it is viewed as its bits.
      const { buffer, byteOffset, length } = data as Uint8Array<ArrayBuffer>;
      found[name] = hostTensor(dtype, dims, new dtypes[dtype].array(buffer, byteOffset, length));
    }
    return found;
  }

  /** Frees the session. */
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
