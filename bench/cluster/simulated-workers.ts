import type { SimulatedOwners } from './simulated-owners.ts';
import { type ClusterState, type OfWorker, ROW_BYTES, type Task, type Worker } from './simulated-state.ts';

/** Time between the first two tries of a result that is refused, which doubles up to the longest one, in seconds. */
const RETRY_SECONDS = 1;
const LONGEST_RETRY_SECONDS = 32;
/** Share of a block after which a worker asks for the next one. */
const ASK_AHEAD = 0.75;
/** Longest that a worker waits for an owner that does not answer, in seconds. The task is dropped then. */
const OWNER_SECONDS = 10;

/** Workers of a simulated cluster: they pull tasks, embed and publish. */
export class SimulatedWorkers {
  /** Time that all workers embedded, in seconds. */
  embedSeconds = 0;
  readonly workers: readonly Worker[];
  /** Workers that wait for a task, perhaps in a former life. */
  private readonly idle: number[] = [];
  private readonly state: ClusterState;
  private readonly owners: SimulatedOwners;

  constructor(state: ClusterState, owners: SimulatedOwners) {
    this.state = state;
    this.owners = owners;
    const { workers, workerRate, workerSpread } = state.settings;
    this.workers = Array.from({ length: workers }, () => ({
      rate: workerRate * Math.exp(workerSpread * state.random.normal()),
      life: 0,
      wakes: 0,
      isAsking: false,
      next: undefined,
      isRead: false,
      embedding: undefined,
      embedded: undefined,
      publishing: undefined,
      refusals: 0,
    }));
  }

  /** Rows that all workers embed in a second, if they never wait. */
  get rate(): number {
    return this.workers.reduce((sum, { rate }) => sum + rate, 0);
  }

  /** Does what is due, unless the worker was killed meanwhile, or hangs. */
  work(event: OfWorker): void {
    const { worker: w, life, kind, isLate } = event;
    const worker = this.workers[w]!;
    if (life !== worker.life) return;
    if (this.state.now < worker.wakes && !isLate) {
      this.state.events.add(worker.wakes, { ...event, isLate: true });
      return;
    }
    if (kind === 'ready' || kind === 'ahead') this.pull(w, worker);
    else if (kind === 'read') this.read(w, worker);
    else if (kind === 'refused') this.publish(w, worker, worker.publishing!);
    else {
      worker.embedded = worker.embedding;
      worker.embedding = undefined;
      this.goOn(w, worker);
    }
  }

  /** A worker asks for a task, unless it has one to embed next. */
  private pull(w: number, worker: Worker): void {
    if (worker.isAsking || worker.next) return;
    worker.isAsking = true;
    this.idle.push(w);
    this.handOut();
  }

  /** Gives tasks to the workers that wait for one. */
  handOut(): void {
    while (this.state.queue.size > 0 && this.idle.length > 0) {
      const w = this.idle.pop()!;
      const worker = this.workers[w]!;
      if (!worker.isAsking || worker.next) continue;
      const task = this.state.queue.shift()!;
      if (task.isDone) {
        this.idle.push(w);
        continue;
      }
      task.deliveries++;
      worker.next = task;
      worker.isRead = false;
      // Whoever hangs is given a task too.
      if (worker.wakes > this.state.now + this.state.settings.ackSeconds)
        this.expire(task, this.state.settings.ackSeconds);
      const { blockRows, ownerTokenRate } = this.state.settings;
      const read = this.state.shardOf(task.block).reading.ask(this.state.now, blockRows / ownerTokenRate);
      const time = Math.max(Math.min(read, this.state.now + OWNER_SECONDS), this.state.serverUpAt);
      this.state.events.add(time, { kind: 'read', worker: w, life: worker.life });
    }
  }

  /** Hands a task out again after a time. */
  private expire(task: Task, seconds: number): void {
    this.state.events.add(this.state.now + seconds, { kind: 'again', task });
  }

  /** The owner has read the tokens of the next task, or the worker waits no longer. */
  private read(w: number, worker: Worker): void {
    const task = worker.next!;
    worker.isAsking = false;
    if (this.state.now < this.state.shardOf(task.block).upAt) {
      worker.next = undefined;
      this.state.end(task);
      this.pull(w, worker);
      return;
    }
    worker.isRead = true;
    this.goOn(w, worker);
  }

  /** A worker publishes what it has embedded, and embeds what is next, if it can. */
  private goOn(w: number, worker: Worker): void {
    if (worker.embedded && !worker.publishing) {
      worker.publishing = worker.embedded;
      worker.embedded = undefined;
      this.publish(w, worker, worker.publishing);
    }
    if (worker.embedding || worker.embedded) return;
    if (!worker.next || !worker.isRead) {
      this.pull(w, worker);
      return;
    }
    const { blockRows, rowTokens } = this.state.settings;
    const bytes = blockRows * (2 * rowTokens + ROW_BYTES);
    const start = Math.max(this.state.receive(bytes), this.state.send(bytes));
    const duration = blockRows / worker.rate;
    this.embedSeconds += duration;
    worker.embedding = worker.next;
    worker.next = undefined;
    const { life } = worker;
    this.state.events.add(start + ASK_AHEAD * duration, { kind: 'ahead', worker: w, life });
    this.state.events.add(start + duration, { kind: 'embedded', worker: w, life });
  }

  private heldBy({ next, embedding, embedded, publishing }: Worker): readonly Task[] {
    return [next, embedding, embedded, publishing].filter((task) => task !== undefined);
  }

  /** A worker is killed. What it held is handed out again, and it comes back. */
  crash(w: number): void {
    const worker = this.workers[w]!;
    const { ackSeconds, workerCrash } = this.state.settings;
    // The last sign of life is up to a third of the time older than the crash.
    for (const task of this.heldBy(worker))
      this.expire(task, ackSeconds * (1 - this.state.random.uniform() / 3));
    worker.life++;
    worker.isAsking = false;
    worker.wakes = 0;
    for (const part of ['next', 'embedding', 'embedded', 'publishing'] as const) worker[part] = undefined;
    worker.refusals = 0;
    this.state.events.add(this.state.now + workerCrash.seconds, {
      kind: 'ready',
      worker: w,
      life: worker.life,
    });
  }

  /** A worker hangs for a time. */
  freeze(w: number): void {
    const worker = this.workers[w]!;
    const { ackSeconds, workerFreeze } = this.state.settings;
    const frozen = this.state.random.exponential(1 / workerFreeze.seconds);
    worker.wakes = Math.max(worker.wakes, this.state.now + frozen);
    if (frozen > ackSeconds) for (const task of this.heldBy(worker)) this.expire(task, ackSeconds);
  }

  /** A worker publishes the rows of a block. It waits while the stream of results is full. */
  private publish(w: number, worker: Worker, task: Task): void {
    const { settings, blockBytes: bytes } = this.state;
    const { life } = worker;
    if (this.state.resultBytes + bytes > settings.resultBytes) {
      this.state.results.refused++;
      // A message is refused after all of it was sent.
      this.state.receive(bytes);
      const seconds = Math.min(RETRY_SECONDS * 2 ** worker.refusals, LONGEST_RETRY_SECONDS);
      worker.refusals += 1;
      const pause = seconds * (0.5 + this.state.random.uniform());
      this.state.events.add(this.state.now + pause, { kind: 'refused', worker: w, life });
      return;
    }
    worker.refusals = 0;
    this.state.resultBytes += bytes;
    this.state.results.mostBytes = Math.max(this.state.results.mostBytes, this.state.resultBytes);
    const shard = this.state.shardOf(task.block);
    shard.results++;
    const stream = this.state.streams[shard.number % this.state.streams.length]!;
    const done = stream.ask(this.state.receive(bytes), bytes / settings.streamRate);
    this.state.events.add(done, { kind: 'published', worker: w, life, task });
  }

  /** The server has a result durably. The worker acknowledges its task, unless it was killed just before. */
  published(w: number, life: number, task: Task): void {
    const worker = this.workers[w]!;
    this.state.results.published++;
    const shard = this.state.shardOf(task.block);
    if (this.state.random.uniform() < this.state.settings.lostResults) {
      this.state.results.lost++;
      shard.results--;
      this.state.resultBytes -= this.state.blockBytes;
    } else {
      shard.waiting.push(task.block);
      this.owners.storeNext(shard);
    }
    if (life !== worker.life) return;
    this.state.end(task);
    worker.publishing = undefined;
    this.goOn(w, worker);
  }

  /** A task is handed out again, unless it was acknowledged in the meantime. */
  again(task: Task): void {
    if (task.isDone) return;
    if (task.deliveries >= this.state.settings.deliveries) {
      this.state.end(task);
      this.state.dead[task.block] = 1;
      this.state.tasks.dead++;
      return;
    }
    this.state.tasks.redelivered++;
    this.state.queue.push(task);
    this.handOut();
  }
}
