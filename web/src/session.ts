// Keeps one stream playing: starts a player when there is something to play, and a new one when the player failed or
// the stream began anew. All that is retried is retried here.

import type { Stream } from "./api";
import type { Events, Form, Player } from "./player";
import type { Trouble } from "./words";

/** Between attempts: doubled from the first to the last, and a little chance so that viewers do not come all at once. */
const RETRY_MS = { first: 1000, last: 8000, chance: 0.3 };

/** A live stream that shows nothing new for so long, and for so many target durations, is played anew. */
const STUCK = { ms: 8000, targets: 3 };

/** Troubles that are remembered, for those who look for their cause. */
const TROUBLES = 10;

/** Having played for so long, the next trouble is a new one. */
const SETTLED_MS = 10_000;

type Make = (url: string, events: Events) => Player;

export class Session {
  readonly name: string;
  readonly form: Form;
  readonly #video: HTMLVideoElement;
  readonly #make: Make;
  player: Player | null = null;
  /** Why there is no player, or a useless one. */
  trouble: Trouble | null = null;
  /** The troubles so far, the newest last. */
  readonly troubles: Trouble[] = [];
  /** The browser wants a click before it plays. */
  blocked = false;
  /** Players made so far. */
  starts = 0;
  /** The stream as the server last described it. */
  stream: Stream | undefined;
  /** Whether the server answered when it was last asked. */
  reachable = true;
  /** Whether the server has ever answered. */
  #asked = false;
  #epoch: number | null = null;
  #failures = 0;
  #retryAt: number | null = null;
  #startedAt = 0;
  #movedAt = 0;
  #liveAt = 0;
  #position = 0;
  #pausedByViewer = false;

  constructor(name: string, form: Form, video: HTMLVideoElement, make: Make) {
    this.name = name;
    this.form = form;
    this.#video = video;
    this.#make = make;
    // A video that is given a new source pauses, too, but with nothing to show.
    video.addEventListener("pause", () => {
      if (!video.ended && video.readyState >= video.HAVE_CURRENT_DATA) this.#pausedByViewer = true;
    });
    video.addEventListener("play", () => (this.#pausedByViewer = false));
    video.addEventListener("playing", () => (this.blocked = false));
  }

  /** The server has answered: this is the stream now. */
  learn(stream: Stream | undefined): void {
    this.#asked = true;
    this.reachable = true;
    if (stream?.state === "live" && this.stream?.state !== "live") this.#liveAt = performance.now();
    this.stream = stream;
    this.look();
  }

  /** The server has not answered. The playlist may come from somewhere else, such as a CDN. */
  lost(): void {
    this.#asked = true;
    this.reachable = false;
    this.look();
  }

  /** Looks what has to be done. To be called a few times a second. */
  look(): void {
    const now = performance.now();
    if (this.#video.currentTime !== this.#position) {
      this.#position = this.#video.currentTime;
      this.#movedAt = now;
      if (now - this.#startedAt > SETTLED_MS && this.trouble === null) this.#failures = 0;
    }
    if (!this.#asked) return;
    const { stream } = this;
    // What was started blindly, while the server did not answer, is the first epoch it then speaks of.
    if (stream && this.#epoch === null && this.player) this.#epoch = stream.epoch;
    if (stream && stream.epoch !== this.#epoch) {
      this.#start(stream.epoch);
    } else if (this.#retryAt !== null) {
      // Without a stream a failed player waits for the next one.
      if (now >= this.#retryAt && (stream || !this.reachable)) this.#start(this.#epoch);
    } else if (this.player === null && this.trouble === null) {
      if (stream || !this.reachable) this.#start(stream?.epoch ?? null);
    } else if (this.player && this.reachable && stream?.state === "live" && this.#video.ended) {
      this.#failed({ kind: "media", detail: "it took the stream for ended" });
    } else if (this.#isStuck(now)) {
      this.#failed({ kind: "media", detail: "nothing new was shown for a while" });
    }
  }

  /** Whether the picture or sound goes on. */
  isMoving(): boolean {
    return performance.now() - this.#movedAt < 1500 && this.#movedAt > this.#startedAt;
  }

  /** Seconds until the next attempt. */
  againInS(): number | null {
    return this.#retryAt === null ? null : Math.max(1, Math.ceil((this.#retryAt - performance.now()) / 1000));
  }

  #isStuck(now: number): boolean {
    const since = Math.max(this.#movedAt, this.#startedAt, this.#liveAt);
    return (
      this.player !== null &&
      this.reachable &&
      this.stream?.state === "live" &&
      !this.#pausedByViewer &&
      !this.blocked &&
      !document.hidden &&
      now - since > Math.max(STUCK.ms, STUCK.targets * 1000 * (this.stream.target_duration_s ?? 0))
    );
  }

  #start(epoch: number | null): void {
    this.player?.destroy();
    this.trouble = null;
    this.#retryAt = null;
    if (epoch !== this.#epoch) this.#failures = 0;
    this.#epoch = epoch;
    this.#startedAt = performance.now();
    this.starts += 1;
    const file = this.form === "ts" ? "ts.m3u8" : "index.m3u8";
    const start = this.starts;
    this.player = this.#make(`/${this.name}/${file}`, {
      attached: () => this.#play(),
      // A player that was replaced may still have something to say.
      failed: (trouble) => start === this.starts && this.#failed(trouble),
    });
  }

  #failed(trouble: Trouble): void {
    this.player?.destroy();
    this.player = null;
    this.trouble = trouble;
    this.troubles.push(trouble);
    if (this.troubles.length > TROUBLES) this.troubles.shift();
    if (trouble.kind === "codec") {
      // The same again would be of no use; another epoch may be.
      this.#retryAt = null;
      return;
    }
    const wait = Math.min(RETRY_MS.first * 2 ** this.#failures, RETRY_MS.last);
    this.#failures += 1;
    this.#retryAt = performance.now() + wait * (1 + Math.random() * RETRY_MS.chance);
  }

  #play(): void {
    if (this.#pausedByViewer) return;
    this.#video.play().catch((error: unknown) => {
      // Any other failure is the player's to report.
      if (error instanceof DOMException && error.name === "NotAllowedError") this.blocked = true;
    });
  }
}
