/** Upper bounds of the buckets of durations, in seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

interface Histogram {
  readonly counts: number[];
  sum: number;
  total: number;
}

/** Counts requests and their durations, and formats them for Prometheus. */
export class Metrics {
  private readonly requests = new Map<string, number>();
  private readonly durations = new Map<string, Histogram>();
  private readonly gauges = new Map<string, { help: string; read: () => number }>();

  /** Adds a value that is read when the metrics are. */
  gauge(name: string, help: string, read: () => number): void {
    this.gauges.set(name, { help, read });
  }

  /** Counts a request. */
  add(route: string, status: number, seconds: number): void {
    const labels = `route="${route}",status="${status}"`;
    this.requests.set(labels, (this.requests.get(labels) ?? 0) + 1);
    let own = this.durations.get(route);
    if (!own) {
      own = { counts: BUCKETS.map(() => 0), sum: 0, total: 0 };
      this.durations.set(route, own);
    }
    for (const [i, bound] of BUCKETS.entries()) if (seconds <= bound) own.counts[i]! += 1;
    own.sum += seconds;
    own.total += 1;
  }

  /** Formats all metrics in the text format of Prometheus. */
  format(): string {
    const lines = [
      '# HELP undrift_requests_total Requests by route and status.',
      '# TYPE undrift_requests_total counter',
    ];
    for (const [labels, value] of this.requests) lines.push(`undrift_requests_total{${labels}} ${value}`);
    lines.push(
      '# HELP undrift_request_seconds Duration of requests.',
      '# TYPE undrift_request_seconds histogram',
    );
    for (const [route, { counts, sum, total }] of this.durations) {
      for (const [i, bound] of BUCKETS.entries()) {
        lines.push(`undrift_request_seconds_bucket{route="${route}",le="${bound}"} ${counts[i]}`);
      }
      lines.push(`undrift_request_seconds_bucket{route="${route}",le="+Inf"} ${total}`);
      lines.push(`undrift_request_seconds_sum{route="${route}"} ${sum}`);
      lines.push(`undrift_request_seconds_count{route="${route}"} ${total}`);
    }
    for (const [name, { help, read }] of this.gauges) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${read()}`);
    }
    return `${lines.join('\n')}\n`;
  }
}
