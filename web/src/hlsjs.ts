// Playing by hls.js.

import Hls, { ErrorDetails, ErrorTypes, Events as HlsEvents, type ErrorData, type LevelDetails, type LoadPolicy } from "hls.js";
import workerPath from "hls.js/dist/hls.worker.js?url";
import { lines } from "./format";
import type { Events, Level, Player, Playlist } from "./player";
import type { Trouble } from "./words";

/** A second failure of the decoder within this time is not worth a second recovery. */
const RECOVERY_MS = 10_000;

/** A playlist or segment that fails is asked for again for about a minute; then the session starts anew. */
const PATIENT: LoadPolicy = {
  default: {
    // The server holds the playlist of a stream that is starting for ten seconds.
    maxTimeToFirstByteMs: 15_000,
    maxLoadTimeMs: 30_000,
    timeoutRetry: { maxNumRetry: 4, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: 10, retryDelayMs: 500, maxRetryDelayMs: 8000, backoff: "exponential" },
  },
};

export class HlsJs implements Player {
  readonly way = "hls.js";
  readonly picks = true;
  readonly hls: Hls;
  readonly #video: HTMLVideoElement;
  readonly #events: Events;
  #recoveredAt = -Infinity;
  /** Bits per second of the last segment of each kind. */
  #rates = new Map<string, number>();
  #shownBreak: number | null = null;
  #breaks = 0;

  static isSupported(): boolean {
    return Hls.isSupported();
  }

  constructor(video: HTMLVideoElement, url: string, events: Events) {
    this.#video = video;
    this.#events = events;
    this.hls = new Hls({
      workerPath,
      // A guess that starts in the middle of a ladder; the first segment corrects it.
      abrEwmaDefaultEstimate: 3_000_000,
      backBufferLength: 60,
      liveDurationInfinity: true,
      manifestLoadPolicy: PATIENT,
      playlistLoadPolicy: PATIENT,
      fragLoadPolicy: PATIENT,
    });
    this.hls.on(HlsEvents.MEDIA_ATTACHED, () => events.attached());
    this.hls.on(HlsEvents.ERROR, (_, data) => this.#error(data));
    this.hls.on(HlsEvents.FRAG_LOADED, (_, { frag, part }) => {
      const loaded = part ?? frag;
      if (loaded.duration > 0 && frag.sn !== "initSegment") {
        this.#rates.set(frag.type, (loaded.stats.total * 8) / loaded.duration);
      }
    });
    this.hls.on(HlsEvents.FRAG_CHANGED, (_, { frag }) => {
      if (this.#shownBreak !== null && frag.cc !== this.#shownBreak) this.#breaks += 1;
      this.#shownBreak = frag.cc;
    });
    this.hls.loadSource(url);
    this.hls.attachMedia(video);
  }

  levels(): Level[] {
    return this.hls.levels.map(({ width, height, bitrate }) => ({
      label: width && height ? lines(width, height) : "Sound",
      bits: bitrate,
      width: width || null,
      height: height || null,
    }));
  }

  chosen(): number {
    return this.hls.manualLevel;
  }

  playing(): number {
    return this.hls.currentLevel;
  }

  choose(level: number): void {
    // What is buffered of the old rung beyond the segment that plays is thrown away: the pick is seen soon, and smoothly.
    this.hls.nextLevel = level;
  }

  playingDateMs(): number | null {
    return this.hls.playingDate?.getTime() ?? null;
  }

  livePosition(): number | null {
    return this.#details()?.live ? this.hls.liveSyncPosition : null;
  }

  throughput(): number | null {
    // Before the first segment it is only the guess.
    return this.#rates.size > 0 ? this.hls.bandwidthEstimate : null;
  }

  mediaRate(): number | null {
    const main = this.#rates.get("main");
    return main === undefined ? null : main + (this.#rates.get("audio") ?? 0);
  }

  discontinuities(): number {
    return this.#breaks;
  }

  async playlist(): Promise<Playlist | null> {
    const details = this.#details();
    return details ? { url: details.url, text: details.m3u8 } : null;
  }

  destroy(): void {
    this.hls.destroy();
  }

  #details(): LevelDetails | null {
    return this.hls.levels[this.hls.currentLevel]?.details ?? this.hls.latestLevelDetails;
  }

  #error(data: ErrorData): void {
    if (!data.fatal) return;
    const now = performance.now();
    if (data.type === ErrorTypes.MEDIA_ERROR && !isCodec(data) && now - this.#recoveredAt > RECOVERY_MS) {
      this.#recoveredAt = now;
      this.hls.recoverMediaError();
      return;
    }
    this.#events.failed(trouble(data, this.#video));
  }
}

function isCodec(data: ErrorData): boolean {
  return (
    data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR ||
    data.details === ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR ||
    data.details === ErrorDetails.BUFFER_ADD_CODEC_ERROR
  );
}

function trouble(data: ErrorData, video: HTMLVideoElement): Trouble {
  if (isCodec(data)) return { kind: "codec" };
  const status = data.response?.code;
  if (data.type === ErrorTypes.NETWORK_ERROR) {
    if (status === 404 || status === 410) return { kind: "absent" };
    return { kind: "network", detail: status ? `HTTP ${status}` : data.details };
  }
  return { kind: "media", detail: video.error?.message || data.details };
}
