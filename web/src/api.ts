// What the server's API says: `GET /api/v1/streams`, and `/time`. The fields are those of `src/control/api.rs`.

export type State = "starting" | "live" | "waiting" | "ended";

export interface Stream {
  name: string;
  state: State;
  epoch: number;
  since_ms: number;
  publisher: { protocol: string; since_ms: number } | null;
  target_duration_s: number | null;
  renditions: Rendition[];
  hls: string;
  hls_ts: string;
  dash: string;
}

export interface Rendition {
  id: string;
  kind: "video" | "audio";
  codec: string;
  codecs: string;
  width: number | null;
  height: number | null;
  frame_rate: number | null;
  sample_rate: number | null;
  channels: number | null;
  language: string | null;
  peak_bps: number;
  mean_bps: number;
  segments: number;
  shed: boolean;
}

/** An answer that takes longer is as good as none. */
const PATIENCE_MS = 10_000;

/** The streams; throws where the server does not answer. */
export async function streams(): Promise<Stream[]> {
  const response = await fetch("/api/v1/streams", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  return (await response.json()) as Stream[];
}

/** The server's clock, as well as it can be known from here. */
export class ServerClock {
  #offsetMs = 0;
  #bestTripMs = Infinity;

  /** Asks once more; the answer with the shortest way counts. */
  async ask(): Promise<void> {
    try {
      const sent = performance.now();
      const response = await fetch("/time", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      const trip = performance.now() - sent;
      const server = Date.parse(await response.text());
      if (!response.ok || Number.isNaN(server)) return;
      if (trip <= this.#bestTripMs) {
        this.#bestTripMs = trip;
        this.#offsetMs = server + trip / 2 - Date.now();
      }
      // Clocks drift: an old answer is believed a little less each time.
      this.#bestTripMs *= 1.2;
    } catch {
      // This machine's clock has to do until the next time.
    }
  }

  now(): number {
    return Date.now() + this.#offsetMs;
  }
}
