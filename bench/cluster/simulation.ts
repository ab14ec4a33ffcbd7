/**
 * @file Simulation of a cluster: a coordinator that derives tasks from stamps, workers that pull them, a server with streams, owners that
 * store results. There is no server and no embedding, only times, bytes and what can go wrong. The rules are those of `src/cluster/`.
 */
import type { Server } from './event-queue.ts';
import { SimulatedCoordinator } from './simulated-coordinator.ts';
import { SimulatedOwners } from './simulated-owners.ts';
import { ClusterState, type Event } from './simulated-state.ts';
import { SimulatedWorkers } from './simulated-workers.ts';
import type { SimulationResult, SimulationSettings } from './simulation-settings.ts';

/** Simulates a cluster until no row is stale but those that were given up. */
export function simulate(settings: SimulationSettings): SimulationResult {
  return new Simulation(settings).run();
}

class Simulation {
  private readonly state: ClusterState;
  private readonly owners: SimulatedOwners;
  private readonly workers: SimulatedWorkers;
  private readonly coordinator: SimulatedCoordinator;
  private failures = 0;

  constructor(settings: SimulationSettings) {
    this.state = new ClusterState(settings);
    this.owners = new SimulatedOwners(this.state);
    this.workers = new SimulatedWorkers(this.state, this.owners);
    this.coordinator = new SimulatedCoordinator(this.state, this.workers);
  }

  run(): SimulationResult {
    const { state } = this;
    const { settings, events } = state;
    events.add(0, { kind: 'look', shard: 0 });
    for (let worker = 0; worker < settings.workers; worker++) {
      events.add(state.send(settings.modelBytes), { kind: 'ready', worker, life: 0 });
      state.later(settings.workerCrash, { kind: 'worker crash', worker });
      state.later(settings.workerFreeze, { kind: 'worker freeze', worker });
    }
    for (let shard = 0; shard < settings.shards; shard++)
      state.later(settings.ownerCrash, { kind: 'owner crash', shard });
    state.later(settings.coordinatorCrash, { kind: 'coordinator crash' });
    state.later(settings.serverLoss, { kind: 'server loss' });
    while (this.coordinator.openShards > 0) {
      const next = events.next()!;
      state.now = next.time;
      this.happen(next.event);
    }
    return this.result();
  }

  private happen(event: Event): void {
    const { kind } = event;
    const { state, workers, owners } = this;
    if (kind === 'published') workers.published(event.worker, event.life, event.task);
    else if (kind === 'again') workers.again(event.task);
    else if (kind === 'result again') owners.again(state.shards[event.shard]!, event.blocks);
    else if (kind === 'stored') owners.store(event);
    else if (kind === 'look') this.coordinator.look(event.shard);
    else if ('life' in event) workers.work(event);
    else this.fail(event);
  }

  private fail(
    event: Extract<
      Event,
      { kind: 'worker crash' | 'worker freeze' | 'owner crash' | 'coordinator crash' | 'server loss' }
    >,
  ): void {
    const { state, workers } = this;
    const { settings } = state;
    this.failures++;
    if (event.kind === 'worker crash') {
      workers.crash(event.worker);
      state.later(settings.workerCrash, event);
    } else if (event.kind === 'worker freeze') {
      workers.freeze(event.worker);
      state.later(settings.workerFreeze, event);
    } else if (event.kind === 'owner crash') {
      this.owners.crash(state.shards[event.shard]!);
      state.later(settings.ownerCrash, event);
    } else if (event.kind === 'coordinator crash') {
      this.coordinator.crash();
      state.later(settings.coordinatorCrash, event);
    } else {
      state.serverUpAt = state.now + settings.serverLoss.seconds;
      for (const part of [...state.streams, state.networkIn, state.networkOut])
        part.stopUntil(state.serverUpAt);
      state.later(settings.serverLoss, event);
    }
  }

  private result(): SimulationResult {
    const { state, owners, workers, coordinator } = this;
    const { now, settings, shards, streams } = state;
    const { times } = owners;
    const mean = (servers: readonly Server[]) =>
      servers.reduce((sum, { busy }) => sum + busy, 0) / servers.length / now;
    return {
      seconds: now,
      secondsTo: { half: times[499]!, p99: times[989]!, p999: times[998]! },
      idealSeconds: (state.blocks * settings.blockRows) / workers.rate,
      blocks: state.blocks,
      tasks: state.tasks,
      results: state.results,
      coordinator: coordinator.counts,
      busy: {
        workers: workers.embedSeconds / settings.workers / now,
        reading: mean(shards.map(({ reading }) => reading)),
        storing: mean(shards.map(({ storing }) => storing)),
        streams: mean(streams),
        network: Math.max(state.networkIn.busy, state.networkOut.busy) / now,
        coordinator: coordinator.counts.busySeconds / now,
      },
      bytes: state.bytes,
      failures: this.failures,
    };
  }
}
