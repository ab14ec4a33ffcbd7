import type { Graph } from '../graph/graph.ts';
import type { ComputeOptions, ProgramPrecision } from './devices.ts';
import { Program } from './program.ts';

/** Programs of one owner. Each is compiled when it is first asked for, and all are freed together. */
export class ProgramCache {
  private readonly compute: ComputeOptions;
  private readonly programs = new Map<string, Promise<Program>>();

  /** @param compute  device and threads of every program, unless a call names others */
  constructor(compute: ComputeOptions = {}) {
    this.compute = compute;
  }

  /**
   * Returns the program of a name, compiled once for each device and number of threads. A failed compilation is tried again by the
   * next call.
   *
   * @param name  names one graph: the cache does not compare graphs
   * @param makeGraph  called if the program is not there yet
   * @param precision  dtype in which matrices are multiplied, default f32
   */
  get(
    name: string,
    makeGraph: () => Graph,
    compute: ComputeOptions = this.compute,
    precision?: ProgramPrecision,
  ): Promise<Program> {
    const { device, threads } = compute;
    const key = `${name} ${device} ${threads} ${precision}`;
    let program = this.programs.get(key);
    if (!program) {
      program = Program.compile(makeGraph(), {
        ...(device && { device }),
        ...(threads && { threads }),
        precision,
      });
      this.programs.set(key, program);
      program.catch(() => this.programs.delete(key));
    }
    return program;
  }

  /** Frees all programs, also those that are still being compiled. */
  async dispose(): Promise<void> {
    const programs = await Promise.allSettled(this.programs.values());
    this.programs.clear();
    for (const program of programs) if (program.status === 'fulfilled') await program.value.dispose();
  }
}
