// Playing by the browser itself: Safari, and browsers that learnt it from Safari. It picks the rung.

import { lines } from "./format";
import type { Events, Level, Player, Playlist } from "./player";

interface Variant extends Level {
  url: string;
}

/** Safari's: the wall-clock time of the video's second 0. */
type Dated = HTMLVideoElement & { getStartDate?: () => Date };

export class Native implements Player {
  readonly way = "native";
  readonly picks = false;
  readonly hls = null;
  readonly #video: Dated;
  readonly #abort = new AbortController();
  #variants: Variant[] = [];

  static isSupported(video: HTMLVideoElement): boolean {
    return video.canPlayType("application/vnd.apple.mpegurl") !== "";
  }

  constructor(video: HTMLVideoElement, url: string, events: Events) {
    this.#video = video;
    const signal = this.#abort.signal;
    video.addEventListener("error", () => void this.#failed(url, events), { signal });
    video.src = url;
    events.attached();
    void this.#learn(url);
  }

  levels(): Level[] {
    return this.#variants;
  }

  chosen(): number {
    return -1;
  }

  playing(): number {
    const { videoWidth, videoHeight } = this.#video;
    return this.#variants.findIndex(({ width, height }) =>
      width && height ? width === videoWidth && height === videoHeight : this.#variants.length === 1,
    );
  }

  choose(): void {}

  playingDateMs(): number | null {
    const start = this.#video.getStartDate?.().getTime();
    return start === undefined || Number.isNaN(start) ? null : start + this.#video.currentTime * 1000;
  }

  livePosition(): number | null {
    const { seekable, duration } = this.#video;
    return Number.isFinite(duration) || seekable.length === 0 ? null : seekable.end(seekable.length - 1);
  }

  throughput(): null {
    return null;
  }

  mediaRate(): null {
    return null;
  }

  discontinuities(): number {
    return 0;
  }

  async playlist(): Promise<Playlist | null> {
    const variant = this.#variants[this.playing()] ?? this.#variants[0];
    if (!variant) return null;
    const response = await fetch(variant.url, { signal: this.#abort.signal });
    return response.ok ? { url: variant.url, text: await response.text() } : null;
  }

  destroy(): void {
    this.#abort.abort();
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  /** The variants, which the browser keeps to itself. */
  async #learn(url: string): Promise<void> {
    try {
      const response = await fetch(url, { signal: this.#abort.signal });
      if (response.ok) this.#variants = variants(await response.text(), new URL(url, location.href));
    } catch {
      // Then the page shows fewer numbers.
    }
  }

  /** Says why, which the browser does not: asks for the playlist once more. */
  async #failed(url: string, events: Events): Promise<void> {
    const error = this.#video.error;
    if (this.#video.getAttribute("src") === null) return;
    const detail = error?.message || `media error ${error?.code ?? "?"}`;
    try {
      const response = await fetch(url, { method: "HEAD", signal: this.#abort.signal });
      if (response.status === 404) events.failed({ kind: "absent" });
      else if (!response.ok) events.failed({ kind: "network", detail: `HTTP ${response.status}` });
      else events.failed({ kind: "media", detail });
    } catch (reason) {
      if (!this.#abort.signal.aborted) events.failed({ kind: "network", detail: String(reason) });
    }
  }
}

/** Variants of a multivariant playlist. */
function variants(text: string, base: URL): Variant[] {
  const found: Variant[] = [];
  for (const [, attributes = "", uri = ""] of text.matchAll(/^#EXT-X-STREAM-INF:(.*)\r?\n([^#\r\n].*)/gm)) {
    const [, width, height] = /RESOLUTION=(\d+)x(\d+)/.exec(attributes) ?? [];
    const size = width && height ? { width: Number(width), height: Number(height) } : { width: null, height: null };
    found.push({
      ...size,
      label: size.width && size.height ? lines(size.width, size.height) : "Sound",
      bits: Number(/(?:^|,)BANDWIDTH=(\d+)/.exec(attributes)?.[1] ?? 0),
      url: new URL(uri, base).href,
    });
  }
  return found;
}
